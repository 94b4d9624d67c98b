"""Makes the manifests that follow from code; a test says when they are out of date.

.venv/bin/python -m deploy.generate
"""

from collections.abc import Callable
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from deploy import jobs, kafka, services
from deploy.pods import Manifest

MANIFESTS = Path(__file__).with_name("manifests")
MADE: dict[str, tuple[str, Callable[[], list[Manifest]]]] = {
    "topics.yaml": ("contract/topics.py", kafka.topics),
    "users.yaml": ("contract/principals.py", kafka.users),
    "jobs.yaml": ("deploy/jobs.py and conf/spark.conf", jobs.applications),
    "services.yaml": ("deploy/services.py", services.services),
    "auditor.yaml": ("deploy/services.py", services.auditor),
}


class _Plain(yaml.SafeDumper):  # type: ignore[misc]
    """Without anchors: each manifest is whole."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def made(file: str) -> str:
    """The text of a file of `MADE`."""
    source, manifests = MADE[file]
    head = f"# Made from {source}: python -m deploy.generate\n"
    text: str = yaml.dump_all(manifests(), Dumper=_Plain, sort_keys=False, width=120)
    return head + text


def main() -> None:
    """Write them all."""
    for file in MADE:
        (MANIFESTS / file).write_text(made(file))


if __name__ == "__main__":
    main()

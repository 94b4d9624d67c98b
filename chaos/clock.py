"""Another clock for one job: libfaketime, which Spark's own `spark-env.sh` puts into that job alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.rankings import newest
from conf.settings import Settings
from contract.facts import parse_time
from contract.topics import TRENDING_POSTS

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)
BACK = "set-back"
# The monotonic clock is set back as well: libfaketime breaks sleep in Python 3.11 where it is told to leave that alone.
SCRIPT = """case "$*" in
  *jobs/trending_posts.py*)
    if [ -e "{flag}" ]; then
      LD_PRELOAD="{library}"; FAKETIME="-1h"
    fi ;;
esac
"""


def library() -> Path | None:
    return next((path for path in LIBRARIES if path.exists()), None)


def can_be_set() -> bool:
    return library() is not None


def prepare(settings: Settings) -> None:
    """Before the stack starts: every job looks whether its clock is to be set back."""
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spark-env.sh").write_text(SCRIPT.format(flag=folder / BACK, library=library()))
    os.environ["SPARK_CONF_DIR"] = str(folder)


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "spark-conf"


@contextmanager
def set_back(settings: Settings) -> Iterator[None]:
    """The trending job, if started within the block, runs with its clock an hour back."""
    flag = _folder(settings) / BACK
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()


def hours_behind(settings: Settings) -> float:
    """Of the newest trending ranking: when it says that it was made, against the broker's clock."""
    one = [ranking for ranking in newest(settings) if ranking.topic == TRENDING_POSTS][-1]
    return (one.arrived_ms / 1000 - parse_time(one.ranking.generated_at).timestamp()) / 3600

"""Known holes in the locked Python packages, found by pip-audit; `make advisories` runs it.

Fails for a hole that a version closes which pyproject.toml would allow. Holes without such a version are told, and so
is it where nobody could be asked: then nothing is known, and nothing fails.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from conf import REPOSITORY
from runtime.setup import REALTIME, USUAL

PIP_AUDIT = Path(sys.executable).with_name("pip-audit")


class UnreachableError(Exception):
    """Nobody answers with advisories."""


@dataclass(frozen=True)
class Hole:
    """A known hole in a package, and the versions that close it."""

    package: str
    version: str
    advisory: str
    fixed_in: tuple[str, ...]

    def mendable(self, wanted: dict[str, SpecifierSet]) -> bool:
        """Whether a fixed version is within what pyproject.toml asks for."""
        allowed = wanted.get(canonicalize_name(self.package), SpecifierSet())
        return any(allowed.contains(version, prereleases=False) for version in self.fixed_in)

    def __str__(self) -> str:
        fix = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no version fixes it"
        return f"{self.package} {self.version}: {self.advisory}, {fix}"


def wanted_versions() -> dict[str, SpecifierSet]:
    """What the project asks for by itself, by normalised name."""
    described = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = [*described["dependencies"], *described["optional-dependencies"]["dev"]]
    return {canonicalize_name(one.name): one.specifier for one in map(Requirement, lines)}


def holes(lock: Path, options: Sequence[str]) -> list[Hole]:
    """Every known hole in the packages of the lock; UnreachableError where there is nobody to ask."""
    # One package first: where no advisories are to be had, one request shows it.
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as first:
        first.write(_first_pin(lock.read_text()))
        first.flush()
        for package in _ask(Path(first.name), options):
            if "skip_reason" in package:
                raise UnreachableError(package["skip_reason"])
    packages = _ask(lock, options)
    for package in packages:
        if "skip_reason" in package:
            print(package["skip_reason"])
    return [_hole(package, found) for package in packages for found in package.get("vulns", [])]


def _first_pin(lock: str) -> str:
    found = re.search(r"^[A-Za-z0-9._-]+==[^ ;]+ \\\n( +--hash=.*\n)+", lock, re.MULTILINE)
    if not found:
        raise SystemExit("the lock holds no package")
    return found[0].rstrip("\\\n")


def _ask(lock: Path, options: Sequence[str]) -> list[dict[str, Any]]:
    command = [str(PIP_AUDIT), "-r", str(lock), "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        raise UnreachableError((done.stderr.strip() or "pip-audit said nothing").splitlines()[-1]) from None
    return packages


def _hole(package: dict[str, Any], found: dict[str, Any]) -> Hole:
    return Hole(package["name"], package["version"], found["id"], tuple(found["fix_versions"]))


def main(options: Sequence[str], lock: Path) -> int:
    """Tell what is known; 1 where something can be mended. Options go to pip-audit."""
    try:
        found = holes(lock, options)
    except UnreachableError as error:
        print(f"{lock.name}: known holes were NOT checked, since nobody could be asked: {error}")
        return 0
    wanted = wanted_versions()
    for hole in found:
        print(f"{hole}: " + ("make the lock anew with it" if hole.mendable(wanted) else "cannot be mended yet"))
    mendable = sum(hole.mendable(wanted) for hole in found)
    print(f"{lock.name}: {len(found)} known holes, {mendable} of them can be mended")
    return 1 if mendable else 0


if __name__ == "__main__":
    sys.exit(max(main(sys.argv[1:], made.lock) for made in (USUAL, REALTIME)))

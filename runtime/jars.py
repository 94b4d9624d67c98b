"""The jars that `.jars` must hold, by name and checksum. Standard library only: set-up uses it too."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
JARS = ROOT / ".jars"
CHECKSUMS = ROOT / "conf" / "jars.sha256"


def jar_sizes() -> dict[str, int]:
    """Bytes by `folder/file`: enough to see, in no time, whether all is there."""
    return {str(jar.relative_to(JARS)): jar.stat().st_size for conf in jar_folders() for jar in conf.glob("*.jar")}


def jar_folders() -> list[Path]:
    return [JARS / name for name in sorted({jar.split("/")[0] for jar in expected_jars()})]


def expected_jars() -> dict[str, str]:
    """SHA-256 by `folder/file`."""
    lines = (line.split() for line in CHECKSUMS.read_text().splitlines())
    return {name: checksum for checksum, name in lines}


def wrong_jars(folder: Path) -> list[str]:
    """The jars that are missing, damaged, or not listed."""
    expected = expected_jars()
    stray = {str(jar.relative_to(folder)) for conf in jar_folders() for jar in (folder / conf.name).glob("*.jar")}
    wrong = {name for name, checksum in expected.items() if not has_checksum(folder / name, checksum)}
    return sorted(wrong | (stray - expected.keys()))


def has_checksum(jar: Path, checksum: str) -> bool:
    return jar.is_file() and hashlib.sha256(jar.read_bytes()).hexdigest() == checksum

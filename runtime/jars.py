"""The jars that `.jars` must hold, by name and checksum. Standard library only: set-up uses it too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from conf import REPOSITORY

JARS = REPOSITORY / ".jars"
CHECKSUMS = REPOSITORY / "conf" / "jars.sha256"
S3 = "s3"
"""For checkpoints and lake on an S3 API: made by `make setup ARGS=--s3`, and from then on kept as the others are."""


def jar_sizes() -> dict[str, int]:
    """Bytes by `folder/file`: enough to see, in no time, whether all is there."""
    jars = (jar for folder in jar_folders() for jar in (JARS / folder).glob("*.jar"))
    return {str(jar.relative_to(JARS)): jar.stat().st_size for jar in jars}


def jar_folders(with_s3: bool = False) -> list[str]:
    """What `.jars` must have."""
    return ["kafka", "spark", *([S3] if with_s3 or (JARS / S3).exists() else [])]


def expected_jars(folders: Sequence[str]) -> dict[str, str]:
    """SHA-256 by `folder/file`."""
    lines = (line.split() for line in CHECKSUMS.read_text().splitlines())
    return {name: checksum for checksum, name in lines if name.split("/")[0] in folders}


def wrong_jars(folder: Path, folders: Sequence[str]) -> list[str]:
    """The jars of these folders that are missing, damaged, or not listed."""
    expected = expected_jars(folders)
    stray = {str(jar.relative_to(folder)) for name in folders for jar in (folder / name).glob("*.jar")}
    wrong = {name for name, checksum in expected.items() if not has_checksum(folder / name, checksum)}
    return sorted(wrong | (stray - expected.keys()))


def has_checksum(jar: Path, checksum: str) -> bool:
    return jar.is_file() and hashlib.sha256(jar.read_bytes()).hexdigest() == checksum

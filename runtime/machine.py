"""What the machine must have before anything is installed; a sentence with the fix for what it lacks.

Standard library only.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PYTHON_NEEDED = (3, 10)
REALTIME_PYTHON_NEEDED = (3, 11)
"""What Spark 4.3 needs."""
JAVA_NEEDED = 17
GIB = 1024**3
DISK_NEEDED, REALTIME_DISK_NEEDED = 3 * GIB, 2 * GIB
"""What the environments take with all that is unpacked meanwhile."""
INSTALL_JAVA = "install a JRE of version 17 or later: apt-get install openjdk-17-jre-headless"


class SetupError(Exception):
    """Something that set-up needs is not there; says what, and the fix."""


def check_machine(options: Sequence[str] = ()) -> None:
    """SetupError, where the machine lacks what set-up and the stack need; `options` are those of this set-up."""
    check_python(sys.version_info[:2], PYTHON_NEEDED, options)
    check_venv()
    for java in java_commands():
        check_java(java)


def check_python(
    version: tuple[int, int], needed: tuple[int, int] = PYTHON_NEEDED, options: Sequence[str] = ()
) -> None:
    if version < needed:
        again = f" ARGS={shlex.quote(' '.join(options))}" if options else ""
        raise SetupError(
            f"Python {version[0]}.{version[1]} is too old: install Python {needed[0]}.{needed[1]} or later, "
            f"and name it: make setup PYTHON=python3.11{again}"
        )


def check_venv() -> None:
    """Debian ships `venv` without the `ensurepip` that it needs. uv brings its own."""
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        if not shutil.which("uv"):
            raise SetupError("Python's venv module is missing: apt-get install python3-venv") from None


def java_commands() -> list[str]:
    """The Java that the broker runs (from PATH), and Spark's, where JAVA_HOME names another."""
    java = shutil.which("java")
    if java is None:
        raise SetupError(f"Java is missing: {INSTALL_JAVA}")
    home = os.environ.get("JAVA_HOME")
    return [java, str(Path(home, "bin", "java"))] if home else [java]


def check_java(java: str) -> str:
    """Its version; SetupError where it does not run or is too old."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SetupError(f"{java} does not run: {INSTALL_JAVA} (and check JAVA_HOME)") from None
    found = re.search(r'version "((?:1\.)?(\d+)[^"]*)"', done.stderr + done.stdout)
    if not found:
        raise SetupError(f"{java} does not tell its version: {INSTALL_JAVA}")
    if int(found[2]) < JAVA_NEEDED:
        raise SetupError(f"Java {found[1]} at {java} is too old: {INSTALL_JAVA} (and check JAVA_HOME)")
    return found[1]


def check_disk(folder: Path, needed: int) -> str:
    """How much is free where the folder is, or will be; SetupError where it is too little."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise SetupError(f"only {free / GIB:.1f} GiB are free at {there}: free at least {needed / GIB:.0f} GiB")
    return f"{free / GIB:.0f} GiB free"

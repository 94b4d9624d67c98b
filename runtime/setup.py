"""Makes the environment: `.venv` from requirements.lock, `.jars` from conf/ivy.xml; `make setup` runs it.

Standard library only, since nothing is installed yet. An interrupted run goes on where it was: the stamp that says
"done" is written last.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from runtime.jars import CHECKSUMS, JARS, ROOT, jar_folders, jar_sizes, wrong_jars
from runtime.machine import DISK_NEEDED, GIB, SetupError, check_machine, java_commands

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".stamp"
LOCK = ROOT / "requirements.lock"
IVY, IVY_SETTINGS = ROOT / "conf" / "ivy.xml", ROOT / "conf" / "ivysettings.xml"
PATTERN = "[conf]/[artifact]-[revision](-[classifier]).[ext]"

BEGAN = time.monotonic()


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


# Done already?


def wanted() -> dict[str, str]:
    """What the environment is made from; a stamp with other values is out of date."""
    files = (LOCK, IVY, CHECKSUMS, ROOT / "pyproject.toml")
    return {"root": str(ROOT), **{file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}}


def read_stamp() -> dict[str, dict[str, object]]:
    try:
        stamp: dict[str, dict[str, object]] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def is_done() -> bool:
    """Whether the stamp is of today's pins and every jar is there; by size, so that it takes no time."""
    stamp = read_stamp()
    return stamp.get("made_from") == wanted() and PYTHON.exists() and stamp.get("jars") == jar_sizes()


# Python packages


def make_venv() -> None:
    """The environment with exactly the locked packages, and this project in it, editable."""
    if read_stamp().get("made_from", {}).get("root") not in (None, str(ROOT)):
        say("the folder has moved: making the environment again")
        shutil.rmtree(VENV)
    STAMP.unlink(missing_ok=True)
    uv = shutil.which("uv")
    if uv:
        install_with_uv(uv)
    else:
        install_with_pip()


def install_with_uv(uv: str) -> None:
    if not PYTHON.exists():
        follow("virtual environment", [uv, "venv", "--clear", "--python", sys.executable, str(VENV)])
    install = [uv, "pip", "install", "--python", str(PYTHON)]
    # The stamp is gone: an interrupted run may have left half a package, and uv's cache makes it cheap to be sure.
    follow("Python packages", [*install, "--reinstall", "--require-hashes", "-r", str(LOCK)])
    follow("this project", [*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def install_with_pip() -> None:
    if not PYTHON.exists():
        say("virtual environment")
        venv.create(VENV, clear=True, symlinks=True, with_pip=False)
    if not has_pip():
        follow("pip", [str(PYTHON), "-m", "ensurepip", "--upgrade", "--default-pip"])
    drop_half_installed(VENV)
    install = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    follow("Python packages", [*install, "--no-compile", "--require-hashes", "-r", str(LOCK)])
    follow("this project", [*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def has_pip() -> bool:
    return subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def drop_half_installed(environment: Path) -> None:
    """pip writes RECORD last: a package without it was interrupted, and pip would take it for installed."""
    for info in environment.glob("lib/python*/site-packages/*.dist-info"):
        if not (info / "RECORD").exists():
            shutil.rmtree(info)


# Jars


def make_jars() -> None:
    """`.jars/spark` and `.jars/kafka`, each jar with the checksum that it must have."""
    if not wrong_jars(JARS):
        return
    incoming = JARS / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    follow("jars", ivy_command(incoming))
    wrong = wrong_jars(incoming)
    if wrong:
        shutil.rmtree(JARS / "cache", ignore_errors=True)
        raise SetupError(f"these jars are not what conf/jars.sha256 says: {', '.join(wrong)}; run make setup again")
    for folder in jar_folders():
        shutil.rmtree(folder, ignore_errors=True)
        (incoming / folder.name).rename(folder)
    shutil.rmtree(incoming)


def ivy_command(target: Path) -> list[str]:
    """pyspark carries Ivy, so that no Maven is needed; the cache in .jars keeps what an interrupted run fetched."""
    ivy = next(VENV.glob("lib/python*/site-packages/pyspark/jars/ivy-*.jar"))
    files = ["-settings", str(IVY_SETTINGS), "-ivy", str(IVY)]
    return [java_commands()[0], "-jar", str(ivy), *files, "-retrieve", f"{target}/{PATTERN}"]


# Running things


def follow(what: str, command: list[str]) -> None:
    """Run a command; a line every five seconds with the last thing it said, and all it said last if it fails."""
    say(what)
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=False
    )
    lines: deque[str] = deque(maxlen=60)
    reader = Thread(target=lines.extend, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        while not has_ended(process):
            say(f"{what}: {lines[-1].strip().split(' (')[0][:70]}" if lines else what)
    finally:
        process.kill()
    reader.join()
    if process.returncode:
        raise SetupError(explain(what, "".join(lines)))


def has_ended(process: subprocess.Popen[str], within: float = 5) -> bool:
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


UNREACHABLE = (
    r"NewConnectionError|Failed to establish|ConnectionError|ConnectTimeout|Could not find a version|No matching dist"
    r"|Failed to fetch|error sending request|dns error|UnknownHost|ConnectException|Server access error"
)


def explain(what: str, output: str) -> str:
    """One sentence for a failure, with what the tool said above it."""
    print(output, end="", file=sys.stderr)
    if "No space left" in output:
        return f"{what}: the disk is full: free at least {DISK_NEEDED // GIB} GiB and run make setup again"
    if re.search(UNREACHABLE, output):
        return (
            f"{what}: the registry cannot be reached, or lacks a pinned version: check the network, proxy and mirror "
            "settings and run make setup again; it goes on where it was"
        )
    return f"{what}: failed, see above; run make setup again, it goes on where it was"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two makes at once must not install over each other."""
    JARS.mkdir(exist_ok=True)
    with (JARS / ".lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)  # a pip that outlives a killed set-up still holds the lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up in this folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def set_up() -> None:
    """Everything that is not there yet."""
    check_machine(ROOT)
    with one_at_a_time():
        if is_done():
            return
        make_venv()
        make_jars()
        STAMP.write_text(json.dumps({"made_from": wanted(), "jars": jar_sizes()}, indent=1))
    say("set-up is complete")


def main() -> int:
    """0 where the environment is as it should be, or was made so."""
    quiet = "--quiet" in sys.argv[1:]
    try:
        if not is_done():
            set_up()
        elif not quiet:
            say("set-up is complete: nothing to do")
    except (SetupError, OSError) as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make setup: interrupted; run it again and it goes on where it was", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

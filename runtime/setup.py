"""Makes the environment: `.venv` from requirements.lock, `.jars` from conf/ivy.xml; `make setup` runs it.

With `--realtime` it makes `.venv-realtime` too, for the counts job in real time (docs/realtime.md); with `--s3` it
fetches the jars for a store on an S3 API (docs/cluster.md). `--all` is both, real time where this Python is new enough:
what the tests need.

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Thread
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from conf import REPOSITORY
from runtime.jars import CHECKSUMS, JARS, S3, jar_folders, jar_sizes, wrong_jars
from runtime.machine import (
    DISK_NEEDED,
    GIB,
    REALTIME_DISK_NEEDED,
    REALTIME_PYTHON_NEEDED,
    SetupError,
    check_disk,
    check_machine,
    check_python,
    java_commands,
)

IVY, IVY_SETTINGS = REPOSITORY / "conf" / "ivy.xml", REPOSITORY / "conf" / "ivysettings.xml"
PATTERN = "[conf]/[artifact]-[revision](-[classifier]).[ext]"
OPTIONS = ("--realtime", "--s3", "--all", "--quiet")

BEGAN = time.monotonic()


class Environment(NamedTuple):
    """A virtual environment, the pins that it is made from, and the bytes that must be free to make it."""

    folder: Path
    lock: Path
    disk: int

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def classes(self) -> Path:
        """What Spark's JVMs load at their start, archived for them to map."""
        return self.folder / "classes.jsa"

    @property
    def stamp(self) -> Path:
        """Says "done", and from what."""
        return self.folder / ".stamp"


USUAL = Environment(REPOSITORY / ".venv", REPOSITORY / "requirements.lock", DISK_NEEDED)
REALTIME = Environment(REPOSITORY / ".venv-realtime", REPOSITORY / "requirements-realtime.lock", REALTIME_DISK_NEEDED)


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


# Done already?


def wanted(made: Environment) -> dict[str, str]:
    """What the environment is made from; a stamp with other values is out of date."""
    files = (made.lock, IVY, CHECKSUMS, REPOSITORY / "pyproject.toml")
    return {"root": str(REPOSITORY), **{file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}}


def read_stamp(made: Environment) -> dict[str, dict[str, object]]:
    try:
        stamp: dict[str, dict[str, object]] = json.loads(made.stamp.read_text())
    except (OSError, ValueError):
        return {}
    return stamp


def is_done(made: Environment = USUAL, with_s3: bool = False) -> bool:
    """Whether the stamp is of today's pins and every jar is there; by size, so that it takes no time."""
    has_jars = read_stamp(made).get("jars") == jar_sizes() and ((JARS / S3).exists() or not with_s3)
    return has_packages(made) and has_jars and made.classes.exists()


def has_packages(made: Environment) -> bool:
    """Whether they are those of today's pins, and where its Python looks for them."""
    return read_stamp(made).get("made_from") == wanted(made) and has_python(made)


def has_python(made: Environment) -> bool:
    """Whether it is there and of the version of its packages: an upgrade of the system's Python changes it alone."""
    if not made.python.exists():
        return False
    ask = [str(made.python), "-ISc", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    return (made.folder / "lib" / f"python{version}").is_dir()


# Python packages


def make_venv(made: Environment) -> None:
    """The environment with exactly the locked packages, and this project in it, editable."""
    if read_stamp(made).get("made_from", {}).get("root") not in (None, str(REPOSITORY)):
        say("the folder has moved: making the environment again")
        shutil.rmtree(made.folder)
    made.stamp.unlink(missing_ok=True)
    uv = shutil.which("uv")
    if uv:
        install_with_uv(uv, made)
    else:
        install_with_pip(made)


def install_with_uv(uv: str, made: Environment) -> None:
    if not has_python(made):
        follow("virtual environment", [uv, "venv", "--clear", "--python", sys.executable, str(made.folder)])
    install = [uv, "pip", "install", "--python", str(made.python)]
    # The stamp is gone: an interrupted run may have left half a package, and uv's cache makes it cheap to be sure.
    follow("Python packages", [*install, "--reinstall", "--require-hashes", "-r", str(made.lock)])
    follow("this project", [*install, "--no-deps", "--no-build-isolation", "--editable", str(REPOSITORY)])


def install_with_pip(made: Environment) -> None:
    if not has_python(made):
        say("virtual environment")
        venv.create(made.folder, clear=True, symlinks=True, with_pip=False)
    if not has_pip(made.python):
        follow("pip", [str(made.python), "-m", "ensurepip", "--upgrade", "--default-pip"])
    drop_half_installed(made.folder)
    install = [str(made.python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    follow("Python packages", [*install, "--no-compile", "--require-hashes", "-r", str(made.lock)])
    follow("this project", [*install, "--no-deps", "--no-build-isolation", "--editable", str(REPOSITORY)])


def has_pip(python: Path) -> bool:
    return subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def drop_half_installed(environment: Path) -> None:
    """pip writes RECORD last: a package without it was interrupted, and pip would take it for installed."""
    for info in environment.glob("lib/python*/site-packages/*.dist-info"):
        if not (info / "RECORD").exists():
            shutil.rmtree(info)


# Jars


def make_jars(with_s3: bool) -> None:
    """The folders of `.jars` that are not as they must be, each jar with its checksum."""
    folders = sorted({jar.split("/")[0] for jar in wrong_jars(JARS, jar_folders(with_s3))})
    if not folders:
        return
    incoming = JARS / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    with NamedTemporaryFile("w") as options:  # a proxy's password must not be seen in a list of processes
        options.writelines(f"{json.dumps(f'-D{option}', ensure_ascii=False)}\n" for option in java_proxies())
        options.flush()
        follow("jars", ivy_command(incoming, folders, options.name))
    wrong = wrong_jars(incoming, folders)
    if wrong:
        shutil.rmtree(JARS / "cache", ignore_errors=True)
        raise SetupError(f"these jars are not what conf/jars.sha256 says: {', '.join(wrong)}; run make setup again")
    for folder in folders:
        shutil.rmtree(JARS / folder, ignore_errors=True)
        (incoming / folder).rename(JARS / folder)
    shutil.rmtree(incoming)


def ivy_command(target: Path, folders: Sequence[str], options: str) -> list[str]:
    """pyspark carries Ivy, so that no Maven is needed; the cache in .jars keeps what an interrupted run fetched.

    `options` is a file of options for Java.
    """
    ivy = next(USUAL.folder.glob("lib/python*/site-packages/pyspark/jars/ivy-*.jar"))
    what = ["-settings", str(IVY_SETTINGS), "-ivy", str(IVY), "-confs", *folders]
    return [java_commands()[0], f"@{options}", "-jar", str(ivy), *what, "-retrieve", f"{target}/{PATTERN}"]


def java_proxies() -> list[str]:
    """HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in capitals or not, as properties of Java, which reads none of them."""
    proxies, properties = getproxies(), []
    for scheme in [scheme for scheme in ("http", "https") if scheme in proxies]:
        try:
            proxy = urlsplit(proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}")
            properties += [f"{scheme}.proxyHost={proxy.hostname}", f"{scheme}.proxyPort={proxy.port or 80}"]
        except ValueError:  # its text may have a part of a password
            raise SetupError(f"{scheme.upper()}_PROXY is not like http://host:port") from None
        if proxy.username:
            user, password = unquote(proxy.username), unquote(proxy.password or "")
            properties += [f"http.proxyUser={user}", f"http.proxyPassword={password}"]
            properties.append("jdk.http.auth.tunneling.disabledSchemes=")  # by default a password is for http alone
    names = [name.strip().lstrip(".") for name in proxies.get("no", "").split(",")]
    direct = "|".join(f"{name}|*.{name}" for name in names if name)
    return [*properties, *([f"http.nonProxyHosts={direct}"] if direct else [])]


# Spark's start


def archive_classes(made: Environment) -> None:
    """What its JVMs load at their start: they map it, by an option of conf/spark.conf (runtime/classes.py)."""
    incoming, scratch = made.folder / "incoming.jsa", made.folder / "tmp"
    incoming.unlink(missing_ok=True)
    scratch.mkdir(exist_ok=True)  # /tmp may run no libraries
    quiet = "-Xlog:cds=off -Xlog:cds+dynamic=off -Dlog4j2.configurationFile=conf/log4j2.properties"
    conf = ["--properties-file", "conf/spark.conf", "--conf", f"spark.pyspark.python={made.python}"]
    spark_submit = [str(made.folder / "bin" / "spark-submit"), "--master", "local[2]", *conf]
    env = {"PYSPARK_PYTHON": str(made.python), "SPARK_LOCAL_IP": "127.0.0.1"}
    follow(
        "Spark's classes",
        [
            *spark_submit,
            "--driver-java-options",
            f'"-XX:ArchiveClassesAtExit={incoming}" "-Djava.io.tmpdir={scratch}" {quiet}',
            "runtime/classes.py",
        ],
        env,
    )
    incoming.rename(made.classes)
    shutil.rmtree(scratch)


# Running things


def follow(what: str, command: list[str], env: Mapping[str, str] | None = None) -> None:
    """Run a command; a line every five seconds with the last thing it said, and all it said last if it fails.

    Warnings of Spark are no progress.
    """
    say(what)
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        close_fds=False,
    )
    lines: deque[str] = deque(maxlen=60)
    reader = Thread(target=lines.extend, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        while not has_ended(process):
            said = [line for line in list(lines) if "WARN" not in line]
            say(f"{what}: {said[-1].strip().split(' (')[0][:70]}" if said else what)
    finally:
        process.kill()
    reader.join()
    if process.returncode:
        raise SetupError(explain(what, "".join(lines)))


def has_ended(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        return False
    return True


UNREACHABLE = (
    r"NewConnectionError|Failed to establish|ConnectionError|ConnectTimeout|Could not find a version|No matching dist"
    r"|Failed to fetch|error sending request|dns error|UnknownHost|ConnectException|Server access error"
    r"|UNRESOLVED DEPENDENCIES"
)


def explain(what: str, output: str) -> str:
    """One sentence for a failure, with what the tool said above it."""
    print(output, end="", file=sys.stderr)
    if "No space left" in output:
        return f"{what}: the disk is full: free at least {DISK_NEEDED // GIB} GiB and run make setup again"
    if re.search(UNREACHABLE, output):
        return (
            f"{what}: the registry cannot be reached, or lacks a pinned version: check the network and run make setup "
            "again; it goes on where it was. A proxy is named by HTTPS_PROXY, what needs none by NO_PROXY, a mirror of "
            "PyPI by PIP_INDEX_URL (uv: UV_DEFAULT_INDEX), one of Maven Central by root= in conf/ivysettings.xml"
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


def set_up(made: Environment, with_s3: bool, options: Sequence[str]) -> None:
    """Everything that is not there yet; the jars are for all environments."""
    check_machine(options)
    if not made.folder.exists():
        check_disk(made.folder, made.disk)
    with one_at_a_time():
        if is_done(made, with_s3):
            return
        if not has_packages(made):
            make_venv(made)
        make_jars(with_s3)
        archive_classes(made)
        made.stamp.write_text(json.dumps({"made_from": wanted(made), "jars": jar_sizes()}, indent=1))


def main() -> int:
    """0 where the environment is as it should be, or was made so; 2 where an option is none."""
    given = [option for option in sys.argv[1:] if option != "--quiet"]
    if unknown := [option for option in given if option not in OPTIONS]:
        print(f"make setup: {' '.join(unknown)} is no option: there are {', '.join(OPTIONS)}", file=sys.stderr)
        return 2
    options = set(sys.argv[1:])
    if "--all" in options:
        options |= {"--s3", *(["--realtime"] if sys.version_info[:2] >= REALTIME_PYTHON_NEEDED else [])}
    quiet, realtime, s3 = (option in options for option in ("--quiet", "--realtime", "--s3"))
    try:
        if realtime:
            check_python(sys.version_info[:2], REALTIME_PYTHON_NEEDED, given)
        missing = [made for made in (USUAL, *([REALTIME] if realtime else [])) if not is_done(made, s3)]
        for made in missing:
            set_up(made, s3, given)
        if missing or not quiet:
            say("set-up is complete" + ("" if missing else ": nothing to do"))
    except (SetupError, OSError) as error:
        print(f"make setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make setup: interrupted; run it again and it goes on where it was", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Examines everything that the stack rests on, and says how to mend what is wrong; `make doctor` runs it."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import psutil
from kafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conf.settings import Settings
from conf.store import checkpoints, complaint
from jobs import realtime
from runtime import stack
from runtime.access import access_differences
from runtime.admin import may_administer
from runtime.broker import is_taken, no_answer
from runtime.checkpoints import last_batch, unreadable
from runtime.jars import JARS, jar_folders, wrong_jars
from runtime.machine import GIB, INSTALL_JAVA, SetupError, check_disk, check_java, java_commands
from runtime.setup import USUAL
from runtime.topics import differences

DISK_NEEDED = 2 * GIB
MEMORY_WANTED = 8 * GIB
ANSWER_MS = 5_000
VECTOR_MODULE = "jdk.incubator.vector"
MATCHED_WHEELS = ("pyspark", "delta-spark", "kafka-python")
REBUILD = (
    "make down, then start over just what this checkpoint belongs to (docs/operations.md, start over with new "
    "checkpoints); of the counts, where Kafka has let go of facts: remove it, make backfill, make backfill ARGS=switch"
)
SET_UP_AGAIN = "remove .venv/.stamp and run make setup"


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it is well, what was seen, and the fix where it is not; `minor` is a warning only."""

    name: str
    ok: bool
    said: str
    fix: str = ""
    minor: bool = False


def checks(settings: Settings) -> list[Check]:
    """Everything, in the order in which one thing rests on another."""
    runs = stack.running(settings) is not None
    machine = [*_java(), _wheels(), *_real_time(settings), _jars(settings), _versions(), _memory(), _disk(settings)]
    return [*machine, _data_dir(settings), *_ports(settings, runs), *_cluster(settings, runs), *_checkpoints(settings)]


# The machine


def _java() -> Iterator[Check]:
    try:
        commands = java_commands()
    except SetupError as error:
        yield Check("Java", False, "not found", str(error))
        return
    for java in commands:
        yield _java_version(java)
        yield _vector_module(java)


def _java_version(java: str) -> Check:
    try:
        return Check("Java", True, f"{check_java(java)} at {java}")
    except SetupError as error:
        return Check("Java", False, java, str(error))


def _vector_module(java: str) -> Check:
    """Spark's launcher demands it; stripped-down runtimes lack it."""
    try:
        modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False).stdout
    except OSError:
        modules = ""
    there = VECTOR_MODULE in modules
    return Check("Java's vector module", there, VECTOR_MODULE if there else f"{VECTOR_MODULE} is missing", INSTALL_JAVA)


def _memory() -> Check:
    have = psutil.virtual_memory().total
    fix = f"a whole stack takes some {MEMORY_WANTED // GIB} GiB: with less it is slow, or the kernel kills parts of it"
    return Check("memory", have >= MEMORY_WANTED, f"{have / GIB:.1f} GiB", fix, minor=True)


def _data_dir(settings: Settings) -> Check:
    """What somebody else has made there, as with sudo, is not ours to write to."""
    folder, fix = settings.data_dir, "make it yours with all that is in it, or set MSM_DATA_DIR to another folder"
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir():
        return Check("data dir", False, f"{there} is no folder", fix)
    kept = (there, *folder.glob("*"), *settings.run_dir.glob("*.lock"))
    foreign = [path for path in kept if not os.access(path, os.W_OK)]
    if foreign:
        return Check("data dir", False, f"{foreign[0]} is not ours to write to", fix)
    return Check("data dir", True, f"{folder} is ours to write to")


def _disk(settings: Settings) -> Check:
    try:
        return Check("disk", True, f"{check_disk(settings.data_dir, DISK_NEEDED)} at {settings.data_dir}")
    except SetupError as error:
        return Check("disk", False, str(error), "free some, or point MSM_DATA_DIR to a larger disk")


# What set-up installed


def _wheels() -> Check:
    locked = locked_versions(USUAL.lock.read_text())
    have = {_normal(package.metadata["Name"]): package.version for package in distributions()}
    wrong = [
        f"{name} is {have.get(name, 'missing')}, not {' or '.join(sorted(versions))}"
        for name, versions in locked.items()
        if (name in have or name in MATCHED_WHEELS) and have.get(name) not in versions
    ]
    return Check("Python packages", not wrong, "; ".join(wrong) or "as in requirements.lock", SET_UP_AGAIN)


def _real_time(settings: Settings) -> Iterator[Check]:
    """Only where it is not whole: without it counts go in batches."""
    folder = realtime.PYTHON.parents[1]
    if folder.exists() and not realtime.is_set_up():
        minor = settings.counts_trigger != "real-time"
        yield Check("Spark for real time", False, f"{folder.name} is not whole", realtime.SET_UP, minor)


def locked_versions(lock: str) -> dict[str, set[str]]:
    """The pins of each package: some have one for older and one for newer Python."""
    locked: dict[str, set[str]] = {}
    for name, pin in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE):
        locked.setdefault(_normal(name), set()).add(pin)
    return locked


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _jars(settings: Settings) -> Check:
    wrong = wrong_jars(JARS, jar_folders(with_s3=bool(settings.store)))
    return Check(
        "jars",
        not wrong,
        f"not as in conf/jars.sha256: {', '.join(wrong)}" if wrong else "as in conf/jars.sha256",
        SET_UP_AGAIN,
    )


def _versions() -> Check:
    """Wheels and jars that talk to each other must be of one version."""
    try:
        wrong = list(mismatches(version("pyspark"), version("delta-spark"), JARS / "spark"))
    except PackageNotFoundError as error:
        wrong = [f"{error.name} is missing"]
    return Check(
        "wheels and jars match",
        not wrong,
        "; ".join(wrong) or f"Spark {version('pyspark')}, Delta {version('delta-spark')}",
        "give pyproject.toml and conf/ivy.xml the same versions and run make setup",
    )


def mismatches(spark: str, delta: str, jars: Path) -> Iterator[str]:
    minor = spark.rpartition(".")[0]
    for jar in (
        f"spark-sql-kafka-0-10_2.13-{spark}.jar",
        f"delta-spark_{minor}_2.13-{delta}.jar",
        f"delta-storage-{delta}.jar",
    ):
        if not (jars / jar).exists():
            yield f"{jar} is not in {jars}"


# What runs


def _ports(settings: Settings, runs: bool) -> Iterator[Check]:
    if settings.embedded_kafka:
        yield _port("broker", "127.0.0.1", settings.kafka_port, "MSM_KAFKA_PORT", runs)
        yield _port("broker's controller", "127.0.0.1", settings.kafka_port + 1, "MSM_KAFKA_PORT", runs)
    yield _port("website", settings.http_host, settings.http_port, "MSM_HTTP_PORT", runs)


def _port(who: str, host: str, port: int, setting: str, runs: bool) -> Check:
    name = f"port of the {who}"
    try:
        taken = is_taken(port, host)
    except SystemExit as error:
        return Check(name, False, f"{port} at {host} cannot be had", str(error))
    if taken and not runs:
        return Check(name, False, f"{port} is in use by something else", f"stop it, or set {setting} to a free port")
    return Check(name, True, f"{port} is " + ("in use by this stack" if taken else "free"))


def _cluster(settings: Settings, runs: bool) -> Iterator[Check]:
    if settings.embedded_kafka and not runs:
        yield Check("broker", True, "not running")
        return
    if not may_administer(settings):
        yield Check("broker", True, f"not asked: the administrator's file is not in {settings.kafka_secrets}")
        return
    wrong = no_answer(settings, bootstrap_timeout_ms=ANSWER_MS)
    yield Check(
        "broker",
        not wrong,
        wrong or f"{settings.bootstrap} answers",
        f"do that, or see {settings.log_dir / 'broker.log'}"
        if settings.embedded_kafka
        else "check MSM_KAFKA_BOOTSTRAP",
    )
    if not wrong:
        yield _topics(settings)


def _topics(settings: Settings) -> Check:
    try:
        wrong = differences(settings) + access_differences(settings)
    except KafkaError as error:
        wrong = [f"they cannot be read: {error}"]
    return Check(
        "topics",
        not wrong,
        "; ".join(wrong) or "as in the registry",
        ".venv/bin/msm topics makes what is missing, and the rights; what differs is changed as the sentence says",
    )


# What was kept


def _checkpoints(settings: Settings) -> Iterator[Check]:
    """One a query; none before the first start."""
    if wrong := complaint(settings):
        yield Check("store", False, "not there", wrong)
        return
    kept = sorted(path for path in checkpoints(settings).glob("*") if path.is_dir())
    if not kept:
        yield Check("checkpoints", True, "none yet")
    for path in kept:
        wrong = unreadable(path)
        yield Check(f"checkpoint {path.name}", not wrong, wrong or last_batch(path), REBUILD)


def show(found: Sequence[Check], console: Console | None = None) -> None:
    """A table of all of it; below it, one line for each thing that is wrong."""
    console = console or Console(highlight=False)
    table = Table("", "what", "seen")
    for check in found:
        table.add_row(_mark(check), check.name, escape(check.said))
    console.print(table)
    for check in (check for check in found if not check.ok):
        console.print(f"[red]{check.name}[/red]: {escape(check.fix)}", soft_wrap=True)


def _mark(check: Check) -> str:
    if check.ok:
        return "[green]ok[/green]"
    return "[yellow]warning[/yellow]" if check.minor else "[red]wrong[/red]"


def main(settings: Settings) -> int:
    """Show all checks; 1 where something is wrong."""
    found = checks(settings)
    show(found)
    return 0 if all(check.ok or check.minor for check in found) else 1

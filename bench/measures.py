"""A number that was measured, and a run of them with all that one must know to read it."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import psutil

from bench.usage import cores
from conf import REPOSITORY
from conf.settings import Settings
from conf.store import write_whole
from contract.facts import format_time
from runtime.broker import KAFKA_JARS
from runtime.machine import SetupError, check_java, java_commands

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """`name` is dotted and stays; `how` says in a sentence how it was measured.

    `floor` names the measure of the same run that it is set against: what the machine could do at that moment.
    """

    name: str
    unit: str
    value: float
    how: str
    better: Better = "lower"
    floor: str = ""


@dataclass(frozen=True)
class Look:
    """What was seen in a stretch of a long measure that ended after so many minutes, by name."""

    minutes: float
    numbers: dict[str, float]


@dataclass
class Run:
    """One run: where, when, of what, and every measure in the order in which it was taken."""

    about: dict[str, Any]
    measures: list[Measure] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def value(self, name: str) -> float | None:
        """The measure of that name; None where it was not taken."""
        return next((one.value for one in self.measures if one.name == name), None)

    def ratio(self, measure: Measure) -> float | None:
        """The measure over its floor; None where it has none."""
        floor = self.value(measure.floor) if measure.floor else None
        return measure.value / floor if floor else None

    def against_floors(self) -> Iterator[tuple[Measure, float | None]]:
        """Each with its ratio, where the two are of one unit and it can be read."""
        units = {one.name: one.unit for one in self.measures}
        return ((one, self.ratio(one) if units.get(one.floor) == one.unit else None) for one in self.measures)

    def write(self, path: Path) -> None:
        """Keep it as JSON; whole, or as it was before."""
        write_whole(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Run":
        """SystemExit where the file holds no run."""
        try:
            said = json.loads(path.read_text())
            looks = [Look(**one) for one in said.get("looks", [])]
            return cls(said["about"], [Measure(**one) for one in said["measures"]], looks)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"{path} is no result of make bench: {error}") from None


PLACES = {
    *("data_dir", "kafka_bootstrap", "kafka_port", "kafka_secrets_dir", "kafka_user", "http_host", "http_port"),
    *("trending_host", "metrics_host", "metrics_port", "auth_secret", "former_auth_secrets", "host_names"),
    "trusted_proxies",
}
"""Settings that say where something is, or are secret."""
TOLD = {"spark_master", "counts_trigger", "audit_every_seconds"}
"""Settings that are told otherwise, or that a run sets itself."""


def about(size: str, counts: str, settings: Settings) -> dict[str, Any]:
    """The machine, versions, commit and settings; `size` is what was asked for, `counts` how these go."""
    return {
        "date": format_time(datetime.now(timezone.utc)),
        "size": size,
        "counts": counts,
        "spark": settings.spark_master,
        "broker": "its own" if settings.embedded_kafka else settings.bootstrap,
        "settings": _set(settings),
        "commit": _commit(),
        "machine": _processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            "java": _java(),
            "kafka": _kafka() if settings.embedded_kafka else "unknown",
            **{name: version(name) for name in ("pyspark", "delta-spark", "fastapi", "uvicorn", "kafka-python")},
        },
    }


def _set(settings: Settings) -> dict[str, Any]:
    """What is not as by default, and may change what is measured."""
    fields = {name: field for name, field in Settings.model_fields.items() if name not in PLACES | TOLD}
    now = settings.model_dump(include=set(fields))
    return {name: now[name] for name, field in fields.items() if now[name] != field.default}


def _commit() -> str:
    line = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return "unknown"
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _java() -> str:
    try:
        return check_java(java_commands()[-1])
    except SetupError:
        return "unknown"


def _kafka() -> str:
    """Of the embedded broker."""
    return next((jar.stem.partition("-")[2] for jar in KAFKA_JARS.glob("kafka_2.13-*.jar")), "unknown")

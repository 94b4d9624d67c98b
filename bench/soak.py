"""Hours of the whole stack under steady traffic: what grows although the work does not, and whether numbers drift."""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench import facts
from bench.facts import History, post_id
from bench.live import reading
from bench.measures import Look, Measure
from bench.phases import Phases
from bench.place import Place, refuse_ended
from bench.probes import OwnWrite, read_lines
from bench.usage import files_in, usage_of
from bench.whole import start_all
from conf.settings import Settings
from contract.topics import POSTS_WITH_COUNTS
from jobs.checkpoints import STATES
from jobs.realtime import is_real_time
from runtime.parts import AUDITOR, JOBS
from runtime.processes import Process

LOOKS = 24
"""Stretches of the time, each looked at by itself."""
AUDIT_SECONDS, LOOK_SECONDS = 300, 0.5
FOLDERS = ("checkpoints", "lake", "feeds")
OPENING = History(2_000, posts=100)
MUST_BE_FLAT = ("batch", "cores", "memory", "files", "own_write")
"""Kinds of numbers that must not grow where the work does not. What is counted is kept: its size grows."""


@dataclass(frozen=True)
class Soak:
    """So many facts a second of the simulator, for so long."""

    rate: float
    minutes: float


def soak(place: Place, size: Soak) -> Iterator[Measure | Look]:
    """The stack with its auditor, simulated traffic, and a page that likes and looks; then everything is audited."""
    place.empty()
    facts.write(place.settings, OPENING)
    audited = Place(place.settings.model_copy(update={"audit_every_seconds": AUDIT_SECONDS}))
    looks: list[Look] = []
    audits: dict[str, float] = {}
    with ExitStack() as parts:
        started = start_all(place, parts)
        with ExitStack() as traffic:
            auditor = traffic.enter_context(audited.running(AUDITOR, MSM_AUDIT_EVERY_SECONDS=str(AUDIT_SECONDS)))
            command = (sys.executable, "-m", "producers.simulator", "--rate", str(size.rate))
            simulator = traffic.enter_context(place.running_other("simulator", command))
            page = traffic.enter_context(reading(place, "page", "own", "--post", post_id(0)))
            running = [one for one in (*started.values(), auditor, simulator, page.process) if one]
            began = time.monotonic()
            for number in range(1, LOOKS + 1):
                since, phases = time.monotonic(), {job: Phases(place, job, started[job]) for job in JOBS}
                with ExitStack() as watching:
                    for one in phases.values():
                        watching.enter_context(one)
                    _wait(began + size.minutes * 60 * number / LOOKS, running, place, audits)
                own = [one for one in read_lines(page.log, OwnWrite) if one.began >= since]
                numbers = (
                    _of_jobs(phases, place.settings)
                    | _memory(started)
                    | _folders(place)
                    | of_own_writes(own)
                    | _audited(place)
                )
                looks.append(Look((time.monotonic() - began) / 60, numbers))
                yield looks[-1]
        note_audit(place, audits)
        found = place.audited("kafka")
    drift = max([found["drift"], *audits.values()])
    how = f"the most that an audit found, of {len(audits)} meanwhile and of one of {found['facts']:,} facts at the end"
    yield Measure("soak.drift", "differences", drift, how)
    yield from flatness(looks, f"{size.minutes:g} minutes of {size.rate:g} facts/s")


def _wait(until: float, running: Sequence[Process], place: Place, audits: dict[str, float]) -> None:
    """Meanwhile note each audit that ends: the next one takes its place."""
    while time.monotonic() < until:
        for process in running:
            refuse_ended(process)
        note_audit(place, audits)
        time.sleep(LOOK_SECONDS)


def note_audit(place: Place, audits: dict[str, float]) -> None:
    """Keep the drift of the newest audit, by when that was made."""
    if newest := _newest_audit(place):
        audits[newest["audited_at"]] = newest["drift"]


def _of_jobs(phases: Mapping[str, Phases], settings: Settings) -> dict[str, float]:
    """In real time a batch of the counts is as long as the time between two commits, and so says nothing."""
    in_real_time = is_real_time(settings)
    found = {f"{job}.cores": seen.cpu_seconds / seen.seconds for job, seen in phases.items()}
    batches = {job: seen for job, seen in phases.items() if not (in_real_time and job == POSTS_WITH_COUNTS)}
    queries = ((query, seen.batch_seconds(query)) for job, seen in batches.items() for query in STATES[job])
    return found | {f"{query}.batch": seconds * 1_000 for query, seconds in queries if seconds is not None}


def _memory(started: Mapping[str, Process]) -> dict[str, float]:
    return {f"{name}.memory": usage_of(one.popen.pid).resident_bytes / 2**20 for name, one in started.items()}


def _folders(place: Place) -> dict[str, float]:
    found = {name: files_in(place.settings.data_dir / name) for name in FOLDERS}
    counts = {f"{name}.files": float(files.count) for name, files in found.items()}
    return counts | {f"{name}.size": files.size / 2**20 for name, files in found.items()}


def of_own_writes(writes: Sequence[OwnWrite]) -> dict[str, float]:
    """Median and p95 in milliseconds of those that were seen; how many were refused, or waited for in vain."""
    seen = [one.visible - one.began for one in writes if one.caught_up]
    given_up = {"page.given_up": float(len(writes) - len(seen))}
    if len(seen) < 2:
        return given_up
    cuts = statistics.quantiles(seen, n=100, method="inclusive")
    return {"p50.own_write": cuts[49] * 1_000, "p95.own_write": cuts[94] * 1_000, **given_up}


def _audited(place: Place) -> dict[str, float]:
    found = _newest_audit(place)
    return {"audit.drift": found["drift"], "audit.seconds": found["seconds"]} if found else {}


def _newest_audit(place: Place) -> dict[str, Any]:
    """What it says; nothing before there is one."""
    path = place.settings.audit_result
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def flatness(looks: Sequence[Look], of_what: str) -> Iterator[Measure]:
    """Mean of the last third over that of the middle one: in the first one everything warms up and fills.

    Of what was seen in both, and must be flat.
    """
    third = len(looks) // 3
    middle, last = looks[third : 2 * third], looks[2 * third :]
    for name in sorted({name for look in last for name in look.numbers}):
        before = [look.numbers[name] for look in middle if name in look.numbers]
        if name.rpartition(".")[2] in MUST_BE_FLAT and before:
            was, now = (
                statistics.fmean(before),
                statistics.fmean(look.numbers[name] for look in last if name in look.numbers),
            )
            how = f"last third of {of_what} over the middle one; {now:,.4g} in the last"
            yield Measure(f"soak.{name}", "times", now / was, how)

"""One run: a stack of its own, fault after fault, after each the audit."""

import os
import random
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

from pyspark.sql import SparkSession
from rich.console import Console

from chaos import clock, report
from chaos.audits import audited
from chaos.disks import Disk, mount
from chaos.fault import NotReachedError, SkippedError
from chaos.faults import FAULTS
from chaos.ground import Ground
from chaos.report import Outcome
from chaos.schedule import chance
from conf.settings import Settings
from contract.topics import POSTS_WITH_COUNTS
from jobs.checkpoints import shape_of
from jobs.submit import COMPILES_LITTLE
from runtime import stack
from runtime.own_stack import own_settings
from runtime.processes import end_as_by_ctrl_c
from runtime.spark import batch_session

RATE = 15.0
LIGHT = {
    "MSM_SHUFFLE_PARTITIONS": "2",
    "MSM_RANK_EVERY_SECONDS": "10",
    # The named points are those inside a batch; tests/realtime kills the job in real time.
    "MSM_COUNTS_TRIGGER": "micro-batch",
    # No JVM here grows old: its compiler would take half of the processor.
    "JAVA_TOOL_OPTIONS": COMPILES_LITTLE,
}
"""Less work for the machine, unless the environment says otherwise: three jobs start again and again."""


def light_settings(data_dir: Path) -> Settings:
    """Of a stack of our own, with little work."""
    there = shape_of(data_dir / "checkpoints" / POSTS_WITH_COUNTS)
    partitions = {"MSM_SHUFFLE_PARTITIONS": str(there.partitions)} if there else {}
    for name, value in {**LIGHT, **partitions}.items():
        os.environ.setdefault(name, value)
    # The embedded broker knows no other way than these two.
    security = "scram" if os.environ.get("MSM_KAFKA_SECURITY") == "scram" else "none"
    return own_settings(data_dir, MSM_KAFKA_BOOTSTRAP="", MSM_KAFKA_SECURITY=security)


def run(folder: Path, data_dir: Path, seed: int, names: Sequence[str], console: Console) -> int:
    """Inflict them one after the other; exit code 1 where one left drift, loss or a stack that is not well."""
    end_as_by_ctrl_c()
    settings = light_settings(data_dir)
    if stack.running(settings):
        raise SystemExit(f"a stack runs on {data_dir}, and faults want one of their own: make down, or another --data")
    clock.prepare(settings)
    outcomes: list[Outcome] = []
    with ExitStack() as left:  # each is done, also where one fails or is interrupted
        left.callback(_report, folder, seed, outcomes, console)
        ground = Ground(settings, random.Random(seed), RATE, _disks(settings, names, left, console))
        left.callback(ground.stop)
        console.print(f"starting a stack on {data_dir} ...", soft_wrap=True)
        ground.start()
        with batch_session(settings) as spark:
            ground.wait_until_well()
            for number, name in enumerate(names, 1):
                console.print(f"{number}/{len(names)}  {name} ...")
                outcomes.append(inflict(ground, name, seed, spark))
                console.print(f"      {outcomes[-1].result}: {outcomes[-1].what}", markup=False, soft_wrap=True)
                report.write(folder / "report.json", seed, outcomes)
                if outcomes[-1].result == "failed":
                    _begin_again(ground)
    return report.exit_code(outcomes)


def _report(folder: Path, seed: int, outcomes: list[Outcome], console: Console) -> None:
    report.write(folder / "report.json", seed, outcomes)
    report.show(outcomes, console)
    console.print(f"the report: {folder / 'report.json'}", soft_wrap=True)


def _disks(settings: Settings, names: Iterable[str], left: ExitStack, console: Console) -> dict[str, Disk]:
    folders = {"checkpoints": settings.checkpoint_dir, "lake": settings.lake_dir, "kafka": settings.kafka_dir}
    disks: dict[str, Disk] = {}
    try:
        for name in folders:
            if f"full disk: {name}" in names:
                disks[name] = mount(folders[name])
                left.callback(disks[name].unmount)
    except PermissionError as error:
        console.print(str(error), markup=False)
    return disks


def inflict(ground: Ground, name: str, seed: int, spark: SparkSession) -> Outcome:
    """One fault, the wait until the stack is well, and the audit."""
    ground.rng = chance(seed, name)
    outcome = Outcome(name, "survived", "")
    try:
        done = FAULTS[name](ground)
        outcome.what, outcome.sentence = done.what, done.sentence
        began = time.monotonic()
        if done.remedy:
            done.remedy()
        ground.wait_until_well()
        outcome.seconds = round(time.monotonic() - began, 1)
    except NotReachedError as error:
        outcome.result, outcome.what = "not reached", str(error)
    except SkippedError as error:
        outcome.result, outcome.what = "skipped", str(error)
        return outcome
    except (Exception, SystemExit) as error:  # whatever it is, the other faults are inflicted nevertheless
        return _failed(outcome, error)
    try:
        with ground.stopped("simulator"):  # the audit gets what the jobs leave of the processor
            outcome.lost = ground.lost()
            return audited(outcome, spark, ground.settings)
    except (Exception, SystemExit) as error:
        return _failed(outcome, error)


def _failed(outcome: Outcome, error: BaseException) -> Outcome:
    outcome.result, outcome.what = "failed", f"{outcome.what} {type(error).__name__}: {error}".strip()
    return outcome


def _begin_again(ground: Ground) -> None:
    """After a fault that the stack did not survive: the next one must not be blamed for it."""
    ground.stop()
    ground.start()
    ground.wait_until_well()


def new_folder(data_dir: Path) -> Path:
    """Where this run keeps its stack and its report."""
    return (data_dir / "chaos" / datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")).absolute()

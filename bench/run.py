"""One run: each measure in its turn, and what was found so far always on the disk."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from bench import facts
from bench.catch_up import ARCHIVE, COUNTS, TRENDING, catch_up
from bench.facts import History
from bench.floor import floor, limits
from bench.growth import growth
from bench.latency import latency
from bench.live import Pace
from bench.measures import Look, Measure, Run, about
from bench.place import Place, a_place
from bench.report import number, show, write_report
from bench.rows import publisher_speed
from bench.serving import Serving, serving
from bench.soak import Soak, soak
from bench.whole import whole
from conf.settings import Settings
from jobs.realtime import PYTHON, is_real_time
from runtime.own_stack import own_settings


@dataclass(frozen=True)
class Size:
    """How much is measured; a quick run has a smaller one, `without` what says little in little time."""

    name: str
    facts: int
    pairs: int
    paces: tuple[Pace, ...]
    whole: tuple[Pace, ...]
    serving: Serving
    soak: Soak
    without: tuple[str, ...] = ()


# Until what runs is compiled, by Java as well.
SLOW, FAST = Pace(1_000, 40, 45), Pace(5_000, 40, 45)
# Four JVMs on a few cores: a tick of the rankings needs minutes until what it runs is compiled.
WARM = replace(SLOW, warm=240)
SHORT = Pace(1_000, 10, 10)
HOURS = Soak(rate=200, minutes=180)
LEFT_OUT = ("limit", "growth", "whole", "soak")
QUICK = Size("quick", 100_000, 50_000, (SHORT,), (SHORT,), Serving(50_000, 2_000, 5), HOURS, without=LEFT_OUT)
FULL = Size(
    "full", 1_000_000, 1_000_000, (SLOW, FAST), (WARM, FAST), Serving(1_000_000, 2_000, 20), HOURS, without=("soak",)
)
Step = Callable[[Place, Size], Iterable[Measure | Look]]


def the_floor(place: Place, size: Size) -> Iterable[Measure]:
    """The facts that the next steps read, and the least that reading them takes; it is part of every run."""
    place.empty()
    yield from publisher_speed(place.settings)
    place.empty()
    began = time.monotonic()
    written = facts.write(place.settings, History(size.facts))
    seconds = time.monotonic() - began
    how = f"{written:,} facts, made and written by {facts.WRITERS} processes"
    yield Measure("writer.facts", "facts/s", written / seconds, how, "higher")
    yield from floor(place)


def catch_ups(place: Place, size: Size) -> Iterable[Measure]:
    """Of every job, on the same facts; what they made of them is audited."""
    yield from catch_up(place, COUNTS, "counts")
    yield from catch_up(place, TRENDING, "trending")
    yield from catch_up(place, ARCHIVE, "archive")
    found = place.audited("archive")
    how = f"{found['facts']:,} facts recounted, and compared in {', '.join(found['compared'])}"
    yield Measure("catch-up.drift", "differences", found["drift"], how)


STEPS: dict[str, Step] = {
    "floor": the_floor,
    "limit": lambda place, size: limits(place),
    "catch-up": catch_ups,
    "growth": lambda place, size: growth(place, size.pairs),
    "latency": lambda place, size: latency(place, size.paces),
    "whole": lambda place, size: whole(place, size.whole),
    "serving": lambda place, size: serving(place, size.serving),
    "soak": lambda place, size: soak(place, size.soak),
}


WRONG = ("catch-up.drift", "soak.drift", "overload.lost")
"""What must be 0, or nothing else is worth anything."""


def bench(folder: Path, data: Path, size: Size, only: Sequence[str], console: Console) -> int:
    """Take the measures and write the report, also where one fails; 1 where counts were wrong or drifted."""
    settings = own_settings(data)
    asked = f"{size.name}, {size.facts:,} facts, {size.pairs:,} pairs"
    run = Run(about(asked, counting(settings), settings))
    try:
        with a_place(data, folder) as place:
            for name in chosen(size, only):
                _take(run, name, STEPS[name](place, size), folder, console)
    finally:
        if run.measures:
            write_report(run, folder)
    show(run, console)
    console.print(f"the report: {folder}", soft_wrap=True)
    return 1 if any(run.value(wrong) for wrong in WRONG) else 0


def counting(settings: Settings) -> str:
    """How the counts go, and on which Spark: in real time that is the one of another environment."""
    if not is_real_time(settings):
        return f"batches, Spark {version('pyspark')}"
    found = PYTHON.parents[1].glob("lib/python3*/site-packages/pyspark-*.dist-info")
    return f"real time, Spark {next((one.stem.partition('-')[2] for one in found), 'unknown')}"


def chosen(size: Size, only: Sequence[str]) -> list[str]:
    """In the order of STEPS, since some read what the floor wrote; the floor is always among them."""
    wanted = {"floor", *only} if only else set(STEPS) - set(size.without)
    return [step for step in STEPS if step in wanted]


def _take(run: Run, name: str, measures: Iterable[Measure | Look], folder: Path, console: Console) -> None:
    with console.status(f"{name} ...") as status:
        for one in measures:
            if isinstance(one, Look):
                run.looks.append(one)
                told = ", ".join(f"{what} {number(value)}" for what, value in one.numbers.items())
                console.print(f"  {one.minutes:.0f} min: {told}", markup=False)
            else:
                run.measures.append(one)
                console.print(f"  {one.name:32} {one.value:>12,.2f} {one.unit}", markup=False)
            run.write(folder / "bench.json")
            status.update(f"{name} ...")

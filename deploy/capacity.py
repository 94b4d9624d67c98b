"""Turns measured costs into machines: writes the tables of docs/capacity.md.

.venv/bin/python -m deploy.capacity [bench.json]

The inputs stand in the first table of the page, each with the command that measures it. With a result of `make bench`
those that it has are taken from there first; all that follows is computed anew.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conf import REPOSITORY

PAGE = REPOSITORY / "docs" / "capacity.md"
RATES = (10_000, 100_000, 1_000_000)
YEAR, MONTH_HOURS = 365 * 86_400, 730
MILLION, GB, TB = 1e6, 1e9, 1e12
REPLICAS = 3
QUERIES_OF_TRENDING = 2
"""Panes and first hours, side by side: each has its own tasks, one a state partition."""
ROW = re.compile(r"^\| `([\w.]+)` \| ([\d.,]+) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
Inputs = Mapping[str, float]


@dataclass(frozen=True)
class Need:
    """What a rate of facts needs; bytes are on disks, with replicas."""

    counts_cores: float
    trending_cores: float
    archive_cores: float
    command_instances: int
    feed_instances: int
    brokers: int
    log_bytes: float
    lake_bytes: float
    state_bytes: float

    @property
    def job_cores(self) -> float:
        return self.counts_cores + self.trending_cores + self.archive_cores


def need(inputs: Inputs, rate: float) -> Need:
    """For `rate` facts/s, day and night, after a year; cores so that a job uses `busy` of them and can catch up."""
    cores = {job: rate / MILLION * inputs[f"{job}.cpu"] / inputs["busy"] for job in ("counts", "trending", "archive")}
    log_bytes = rate * YEAR * inputs["log.bytes"] * REPLICAS
    by_disk = log_bytes / (inputs["broker.disk"] * TB)
    by_network = rate * inputs["log.bytes"] * REPLICAS / (inputs["broker.write"] * MILLION)
    return Need(
        counts_cores=cores["counts"],
        trending_cores=cores["trending"],
        archive_cores=cores["archive"],
        command_instances=math.ceil(rate / inputs["commands.most"] / inputs["busy"]),
        feed_instances=max(2, math.ceil(rate * inputs["reads"] / inputs["feed.most"] / inputs["busy"])),
        brokers=max(3, math.ceil(max(by_disk, by_network))),
        log_bytes=log_bytes,
        lake_bytes=rate * YEAR * inputs["lake.bytes"],
        state_bytes=rate * YEAR * inputs["pairs"] * inputs["state.bytes"],
    )


def money(inputs: Inputs, rate: float) -> float:
    """US dollars a month, at the end of the first year."""
    needed = need(inputs, rate)
    services = needed.command_instances + needed.feed_instances
    cores = needed.job_cores + services + needed.brokers * inputs["broker.cores"]
    disks = needed.log_bytes + needed.state_bytes
    return (
        cores * inputs["price.core"] * MONTH_HOURS
        + disks / GB * inputs["price.disk"]
        + (needed.lake_bytes + needed.state_bytes) / GB * inputs["price.object"]
    )


WALLS: dict[str, tuple[str, Callable[[Inputs], float]]] = {
    "one feed instance takes every changed post": (
        "share the view out by post, or let instances read one store",
        lambda inputs: inputs["feed.build"] / inputs["rows"],
    ),
    "a core for each state partition of the counts, 256 of them": (
        "more partitions: `msm rescale`",
        lambda inputs: 256 * MILLION * inputs["busy"] / inputs["counts.cpu"],
    ),
    "a core for each state partition of the rankings, twice 256 of them": (
        "more partitions: `msm rescale`",
        lambda inputs: QUERIES_OF_TRENDING * 256 * MILLION * inputs["busy"] / inputs["trending.cpu"],
    ),
    "a core for each of the 288 partitions of the facts": (
        "more partitions, in a new topic: keys move",
        lambda inputs: 288 * MILLION * inputs["busy"] / inputs["floor.cpu"],
    ),
    "a year's state on 100 executors with 4 TB each": (
        "close posts that are old: their totals stay, their pairs leave",
        lambda inputs: 100 * 4 * TB / (YEAR * inputs["pairs"] * inputs["state.bytes"]),
    ),
    "a year's facts on 60 brokers": (
        "tiered storage, or a shorter retention, with the archive as the truth",
        lambda inputs: 60 * inputs["broker.disk"] * TB / (YEAR * inputs["log.bytes"] * REPLICAS),
    ),
}
"""Where something cannot grow as it is built, what moves it, and the facts/s at which it is reached."""


def machines(inputs: Inputs) -> str:
    """The table of what each rate needs."""
    lines: list[tuple[str, Callable[[Need], str]]] = [
        ("executors' cores: counts", lambda one: f"{math.ceil(one.counts_cores):,}"),
        ("executors' cores: trending", lambda one: f"{math.ceil(one.trending_cores):,}"),
        ("executors' cores: archive", lambda one: f"{math.ceil(one.archive_cores):,}"),
        ("state partitions of each job", lambda one: f"{_partitions(one):,}"),
        ("instances of the command services", lambda one: f"{one.command_instances:,}"),
        ("instances of the feeds", lambda one: f"{one.feed_instances:,}"),
        ("brokers", lambda one: f"{one.brokers:,}"),
        ("log after a year, three replicas", lambda one: _bytes(one.log_bytes)),
        ("lake after a year", lambda one: _bytes(one.lake_bytes)),
        ("state of the counts after a year", lambda one: _bytes(one.state_bytes)),
    ]
    needs = [need(inputs, rate) for rate in RATES]
    head = "| facts/s | " + " | ".join(f"{rate:,}" for rate in RATES) + " |\n|---|" + "---:|" * len(RATES)
    rows = [f"| {name} | " + " | ".join(said(one) for one in needs) + " |" for name, said in lines]
    paid = "| US dollars a month, then | " + " | ".join(_rounded(money(inputs, rate)) for rate in RATES) + " |"
    return "\n".join([head, *rows, paid])


def walls(inputs: Inputs) -> str:
    """The table of what ends where, the nearest first."""
    reached = sorted((at(inputs), name, moved) for name, (moved, at) in WALLS.items())
    rows = [f"| {name} | {_rounded(rate)} | {moved} |" for rate, name, moved in reached]
    return "\n".join(["| wall | reached at facts/s | what moves it |", "|---|---:|---|", *rows])


def _partitions(needed: Need) -> int:
    """One setting for all jobs: the next power of two, so that each core has one and a rescaling seldom comes."""
    cores = max(needed.counts_cores, needed.trending_cores / QUERIES_OF_TRENDING)
    return int(max(4, 2 ** math.ceil(math.log2(max(1.0, cores)))))


def _bytes(number: float) -> str:
    unit, size = next((unit, size) for unit, size in (("PB", 1e15), ("TB", TB), ("GB", GB)) if number >= size)
    return f"{_rounded(number / size)} {unit}"


def _rounded(number: float) -> str:
    """Two digits that say something: more would not be true."""
    digits = max(0, 1 - math.floor(math.log10(number)))
    return f"{round(number, 1 - math.floor(math.log10(number))):,.{digits}f}"


def inputs_of(page: str) -> dict[str, float]:
    """The first table of the page."""
    return {name: float(value.replace(",", "")) for name, value, *_ in ROW.findall(page)}


def with_measured(page: str, result: Path) -> str:
    """The page with the inputs that a result of `make bench` has, and of which run they are."""
    try:
        said = json.loads(result.read_text())
        measured = {one["name"]: float(one["value"]) for one in said["measures"]}
        about = said["about"]
        run = f"{about['date'][:10]}, {about['commit']}, size {about['size']}, load {about['load_before']} before it"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{result} is no result of make bench: {error}") from None

    def row(found: re.Match[str]) -> str:
        name, _, unit, by, _ = found.groups()
        return f"| `{name}` | {_rounded(measured[name])} | {unit} | {by} | {run} |" if name in measured else found[0]

    return ROW.sub(row, page)


def computed(page: str) -> str:
    """The page with all that follows from its inputs."""
    inputs = inputs_of(page)
    for name, table in (("machines", machines(inputs)), ("walls", walls(inputs))):
        mark = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        if not mark.search(page):
            raise SystemExit(f"{PAGE} has no place for {name}: a line <!-- {name} -->, and <!-- end --> after it")
        page = mark.sub(rf"\g<1>{table}\g<2>", page)
    return page


def main() -> None:
    """Write the page anew."""
    page = PAGE.read_text()
    if len(sys.argv) > 1:
        page = with_measured(page, Path(sys.argv[1]))
    PAGE.write_text(computed(page))


if __name__ == "__main__":
    main()

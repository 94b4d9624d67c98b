"""What a run of faults found, as JSON and for people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conf.store import write_whole

Result = Literal["survived", "not reached", "skipped", "failed"]
COLOUR = {"survived": "green", "not reached": "yellow", "skipped": "yellow", "failed": "bold red"}


@dataclass
class Outcome:
    """One fault: what was done, how long until the stack was well again, and what the audit says after it.

    drift: of the audit, None where it could not say that there is none; lost: acknowledged records that are not where
    Kafka said, None where nobody looked;
    sentence: what a person was told to do, and did; empty where the stack healed by itself.
    """

    fault: str
    result: Result
    what: str
    sentence: str = ""
    seconds: float = 0.0
    drift: int | None = None
    facts: int = 0
    lost: int | None = None


def judged(outcome: Outcome) -> Outcome:
    """Failed where the audit found drift, or could not say that there is none, or records are gone."""
    if outcome.drift != 0 or outcome.lost:
        outcome.result = "failed"
    return outcome


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """1 where a fault left drift, loss or a stack that is not well, or where nothing was inflicted at all."""
    results = {outcome.result for outcome in outcomes}
    return 1 if "failed" in results or "survived" not in results else 0


def as_json(seed: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The whole report."""
    return {"seed": seed, "exit_code": exit_code(outcomes), "faults": [asdict(outcome) for outcome in outcomes]}


def write(path: Path, seed: int, outcomes: Sequence[Outcome]) -> None:
    """Keep it; also after each fault, so that what is interrupted has said what it knows."""
    write_whole(path, as_json(seed, outcomes))


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print it."""
    table = Table("fault", "result", "well after", "drift", "lost", "what was done, and what a person had to do")
    for one in outcomes:
        drift, lost = ("-" if number is None else str(number) for number in (one.drift, one.lost))
        seconds = f"{one.seconds:.0f} s" if one.seconds else ""
        told = Text("\n".join(part for part in (one.what, one.sentence) if part))
        table.add_row(one.fault, Text(one.result, COLOUR[one.result]), seconds, drift, lost, told)
    console.print(table)
    counts = {result: sum(one.result == result for one in outcomes) for result in COLOUR}
    console.print(", ".join(f"{number} {result}" for result, number in counts.items() if number))

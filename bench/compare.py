"""Sets two runs beside each other: each measure over its own run's floor, so that a slower machine is no regression."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from bench.measures import Measure, Run
from bench.report import number

BOUND = 1.25
"""How much worse is a regression, unless told otherwise."""
KIND = ("size", "cores", "counts", "spark", "broker", "settings")
OF_NO_MACHINE = ("times", "differences", "facts", "pairs", "bytes/pair")
"""Units of what is alike on any machine, without a floor too."""


@dataclass(frozen=True)
class Change:
    """`worse`: how many times as bad as before, over the floors where the measure has one; below 1 it is better.

    None where the machines differ and no floor evens that out.
    """

    measure: Measure
    before: float
    after: float
    worse: float | None

    def is_regression(self, bound: float) -> bool:
        return self.worse is not None and self.worse > bound


def refuse_unlike(before: Run, after: Run) -> None:
    """SystemExit where two runs say that they differ in what no floor evens out."""
    was, now = _kind(before), _kind(after)
    if differ := [f"{what} ({was[what]}; {now[what]})" for what in was if was[what] != now.get(what, was[what])]:
        raise SystemExit(f"these runs cannot be compared, they differ in {', '.join(differ)}")


def _kind(run: Run) -> dict[str, str]:
    """Start-up is part of every cost, and more so of a small one. Other versions of Spark may well be compared."""
    said = {what: str(one) for what, one in run.about.items() if what in KIND}
    return {what: one.partition(",")[0] if what == "counts" else one for what, one in said.items()}


def changes(before: Run, after: Run) -> list[Change]:
    """Of every measure that both runs have, except the floors themselves and what else is measured of their job."""
    old = {one.name: one for one in before.measures}
    floors = {one.floor for one in (*before.measures, *after.measures)}
    floors |= {one.name for one in after.measures if one.name.startswith("floor.") and not one.floor}
    both = [one for one in after.measures if one.name in old and one.name not in floors]
    return [_change(before, old[one.name], after, one) for one in both]


def missing(before: Run, after: Run) -> list[str]:
    """What was measured before and is not any more."""
    there = {one.name for one in after.measures}
    return [one.name for one in before.measures if one.name not in there]


def _change(before: Run, old: Measure, after: Run, new: Measure) -> Change:
    ratios = before.ratio(replace(old, floor=new.floor)), after.ratio(new)
    if None in ratios and new.unit not in OF_NO_MACHINE and _are_of_two_machines(before, after):
        return Change(new, old.value, new.value, None)
    was, now = (old.value, new.value) if None in ratios else ratios
    assert was is not None
    assert now is not None
    worse, better = (now, was) if new.better == "lower" else (was, now)
    return Change(new, old.value, new.value, worse / better if better else (1.0 if worse == 0 else float("inf")))


def _are_of_two_machines(before: Run, after: Run) -> bool:
    was, now = before.about.get("machine"), after.about.get("machine")
    return None not in (was, now) and was != now


def show_changes(found: Sequence[Change], bound: float, console: Console) -> None:
    """A row a measure, regressions in red."""
    table = Table(Column("measure", no_wrap=True), "unit", "before", "after", "times as bad, over the floors")
    for one in found:
        told = _told(one.worse, bound)
        table.add_row(one.measure.name, one.measure.unit, number(one.before), number(one.after), told)
    console.print(table)


def _told(worse: float | None, bound: float) -> Text:
    if worse is None:
        return Text("another machine", "dim")
    return Text(number(worse), "bold red" if worse > bound else "green" if worse < 1 / bound else "")

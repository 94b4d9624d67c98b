"""A run for people: a table, and a picture of it."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from bench.measures import Measure, Run

LOG_ABOVE = 100
"""How many times the least value the greatest may be on an even scale."""


def write_report(run: Run, folder: Path) -> None:
    """`bench.json`, `bench.md` and `bench.png`."""
    run.write(folder / "bench.json")
    (folder / "bench.md").write_text(as_markdown(run))
    draw(run, folder / "bench.png")


def number(value: float) -> str:
    """Three digits that say something: 0.0123, 1.23, 123, 123,456."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_markdown(run: Run) -> str:
    """The table, under a line for each thing that one must know of the run."""
    about = run.about
    versions = ", ".join(f"{name} {said}" for name, said in about["versions"].items())
    head = [
        f"# make bench, {about['date']}",
        "",
        f"Size {about['size']}; commit {about['commit']} on {about['machine']}, {about['cores']} cores, "
        f"{about['memory_gib']} GiB, load {about['load_before']} before it. {versions}.",
        "",
        "| measure | value | unit | over the floor | how |",
        "|---|---:|---|---:|---|",
    ]
    rows = [
        f"| {one.name} | {number(one.value)} | {one.unit} | {number(ratio) if ratio is not None else ''} | {one.how} |"
        for one, ratio in run.against_floors()
    ]
    return "\n".join([*head, *rows, ""])


def show(run: Run, console: Console) -> None:
    """The same on a terminal."""
    table = Table(Column("measure", no_wrap=True), "value", "unit", "over the floor")
    for one, ratio in run.against_floors():
        table.add_row(one.name, number(one.value), one.unit, number(ratio) if ratio is not None else "")
    console.print(table)


def draw(run: Run, path: Path) -> None:
    """A panel for each unit, a bar for each measure."""
    from matplotlib import use  # it is of the development extra, and takes a second to load

    use("Agg")
    from matplotlib import pyplot

    units = list(dict.fromkeys(one.unit for one in run.measures))
    heights = [sum(one.unit == unit for one in run.measures) for unit in units]
    figure, axes = pyplot.subplots(
        len(units), 1, figsize=(9, 0.3 * sum(heights) + 0.9 * len(units)), height_ratios=heights, squeeze=False
    )
    for unit, panel in zip(units, axes[:, 0], strict=True):
        _bars(panel, unit, [one for one in run.measures if one.unit == unit])
    figure.suptitle(f"{run.about['commit']}, {run.about['date'][:16]}, {run.about['cores']} cores", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _bars(panel, unit: str, measures: Sequence[Measure]) -> None:  # type: ignore[no-untyped-def]
    names, values = [one.name for one in measures][::-1], [one.value for one in measures][::-1]
    bars = panel.barh(names, values, color=["#8a8a8a" if name.startswith("floor") else "#2a6f97" for name in names])
    panel.bar_label(bars, [number(value) for value in values], padding=3, fontsize=7)
    panel.set_title(unit, fontsize=8, loc="left")
    panel.tick_params(labelsize=7)
    positive = [value for value in values if value > 0]
    if positive and max(positive) > LOG_ABOVE * min(positive):
        panel.set_xscale("log")
    panel.margins(x=0.12, y=0.01)
    panel.spines[["top", "right"]].set_visible(False)

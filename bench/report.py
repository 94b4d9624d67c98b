"""A run for people: a table, and pictures of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from bench.measures import Look, Measure, Run

UNITS = {"batch": "ms", "cores": "used", "memory": "MiB", "files": "there", "size": "MiB", "own_write": "ms"}
"""Of those numbers of a look whose unit their name does not say."""
LOG_ABOVE = 100
"""How many times the least value the greatest may be on an even scale."""


def write_report(run: Run, folder: Path) -> None:
    """`bench.json`, `bench.md` and `bench.png`; of a soak `soak.png` too."""
    run.write(folder / "bench.json")
    (folder / "bench.md").write_text(as_markdown(run))
    draw(run, folder / "bench.png")
    if run.looks:
        draw_looks(run, folder / "soak.png")


def number(value: float) -> str:
    """Three digits that say something: 0.0123, 1.23, 123, 123,456."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


DRIVERS = "**Processor time and memory are those of the drivers: of Spark's executors nothing is known here.**"


def as_markdown(run: Run) -> str:
    """The table, under a line for each thing that one must know of the run."""
    about = run.about
    versions = ", ".join(f"{name} {said}" for name, said in about["versions"].items())
    head = [
        f"# make bench, {about['date']}",
        "",
        *([] if about["spark"].startswith("local") else [DRIVERS, ""]),
        f"Size {about['size']}; counts in {about['counts']}, on {about['spark']}; {_where(about)}"
        f"commit {about['commit']} on {about['machine']}, {about['cores']} cores, {about['memory_gib']} GiB, "
        f"load {about['load_before']} before it. {versions}.",
        "",
        "| measure | value | unit | over the floor | how |",
        "|---|---:|---|---:|---|",
    ]
    rows = [
        f"| {one.name} | {number(one.value)} | {one.unit} | {number(ratio) if ratio is not None else ''} | {one.how} |"
        for one, ratio in run.against_floors()
    ]
    return "\n".join([*head, *rows, ""])


def _where(about: dict[str, Any]) -> str:
    """The broker, and what is not as by default, where a run says it."""
    changed = ", ".join(f"{name}: {value}" for name, value in about.get("settings", {}).items())
    broker = f"broker: {about['broker']}; " if "broker" in about else ""
    return broker + (f"with {changed}; " if changed else "")


def show(run: Run, console: Console) -> None:
    """The same on a terminal."""
    table = Table(Column("measure", no_wrap=True), "value", "unit", "over the floor")
    for one, ratio in run.against_floors():
        table.add_row(one.name, number(one.value), one.unit, number(ratio) if ratio is not None else "")
    console.print(table)


def draw(run: Run, path: Path) -> None:
    """A panel for each unit, a bar for each measure."""
    units = list(dict.fromkeys(one.unit for one in run.measures))
    heights = [sum(one.unit == unit for one in run.measures) for unit in units]
    size = (9, 0.3 * sum(heights) + 0.9 * len(units))
    with _panels(run, path, len(units), figsize=size, height_ratios=heights) as panels:
        for unit, panel in zip(units, panels, strict=True):
            _bars(panel, unit, [one for one in run.measures if one.unit == unit])


def draw_looks(run: Run, path: Path) -> None:
    """How each number went: a panel for all whose names end alike, over the minutes."""
    names = list(dict.fromkeys(name for look in run.looks for name in look.numbers))
    kinds = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
    with _panels(run, path, len(kinds), figsize=(9, 2.2 * len(kinds)), sharex=True) as panels:
        for kind, panel in zip(kinds, panels, strict=True):
            _lines(panel, kind, run.looks, [name for name in names if name.rpartition(".")[2] == kind])
        panels[-1].set_xlabel("minutes", fontsize=8)


@contextmanager
def _panels(run: Run, path: Path, count: int, **how: Any) -> Iterator[list[Any]]:
    """Panels one below the other, kept as a picture at the end of the block."""
    from matplotlib import use  # it is of the development extra, and takes a second to load

    use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(count, 1, squeeze=False, **how)
    yield list(axes[:, 0])
    figure.suptitle(_of_what(run), fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _lines(panel, kind: str, looks: Sequence[Look], names: Sequence[str]) -> None:  # type: ignore[no-untyped-def]
    for name in names:
        seen = [(look.minutes, look.numbers[name]) for look in looks if name in look.numbers]
        panel.plot(*zip(*seen, strict=True), marker=".", markersize=3, linewidth=1, label=name.rpartition(".")[0])
    panel.set_title(f"{kind}, {UNITS[kind]}" if kind in UNITS else kind, fontsize=8, loc="left")
    panel.set_ylim(bottom=0)
    panel.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)


def _of_what(run: Run) -> str:
    return f"{run.about['commit']}, {run.about['date'][:16]}, {run.about['cores']} cores"


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

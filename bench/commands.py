"""`msm bench`, and `msm bench compare`."""

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.compare import BOUND, changes, missing, refuse_unlike, show_changes
from bench.measures import Run
from bench.probes import Unmatched
from conf import REPOSITORY
from conf.settings import load_settings
from runtime.processes import end_as_by_ctrl_c

cli = typer.Typer(invoke_without_command=True, help="Measure what the engine costs and how fast it is.")
console = Console(highlight=False)
LEAST = 20_000
"""A history has so many posts, and each is a fact."""


@cli.callback()
def measure(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="A small run, below five minutes on 4 cores.")] = False,
    facts: Annotated[int | None, typer.Option(min=LEAST, help="Facts to catch up on, other than the size has.")] = None,
    pairs: Annotated[int | None, typer.Option(min=LEAST, help="Pairs to grow to, other than the size has.")] = None,
    minutes: Annotated[float, typer.Option(help="How long a soak takes; 0: three hours.")] = 0,
    rate: Annotated[float, typer.Option(help="Facts a second of a soak; 0: 200.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="This group of measures; several times for several.")] = None,
) -> None:
    """Measure; print a table, write JSON, table and picture to artifacts/bench/. Exit code 1: drift, or a lost like."""
    if context.invoked_subcommand:
        return
    from bench.run import FULL, QUICK, STEPS, bench  # no other command waits for what these import
    from bench.soak import Soak

    if unknown := set(only or ()) - set(STEPS):
        raise typer.BadParameter(f"--only is one of {', '.join(STEPS)}, not {', '.join(sorted(unknown))}")
    size = QUICK if quick else FULL
    hours = Soak(rate or size.soak.rate, minutes or size.soak.minutes)
    size = replace(size, facts=facts or size.facts, pairs=pairs or size.pairs, soak=hours)
    name = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    folder, data = REPOSITORY / "artifacts" / "bench" / name, load_settings().data_dir / "bench" / name
    load_settings.cache_clear()  # what is measured has settings of its own
    end_as_by_ctrl_c()
    try:
        code = bench(folder, data, size, only or (), console)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; what was started is stopped") from None
    except Unmatched as error:
        raise SystemExit(f"a measure means nothing: {error}; what was measured before it, and logs: {folder}") from None
    except (Exception, SystemExit):
        if folder.exists():
            console.print(f"it failed; what was measured before, and logs: {folder}", soft_wrap=True)
        raise
    raise typer.Exit(code)


@cli.command()
def compare(
    before: Annotated[Path, typer.Argument(help="bench.json of one run.")],
    after: Annotated[Path, typer.Argument(help="bench.json of a later one.")],
    bound: Annotated[float, typer.Option(min=1, help="How many times as bad is a regression.")] = BOUND,
) -> None:
    """Set two runs beside each other, each over its own floor; exit code 1 where a measure got worse than the bound."""
    runs = Run.read(before), Run.read(after)
    refuse_unlike(*runs)
    found = changes(*runs)
    if not found:
        raise SystemExit(f"{before} and {after} have no measure in common")
    show_changes(found, bound, console)
    for name in missing(*runs):
        console.print(f"{name} was measured before, and is not any more", markup=False)
    judged = [one for one in found if one.worse is not None]
    worse = [one.measure.name for one in judged if one.is_regression(bound)]
    console.print(
        f"{len(worse)} of {len(judged)} are worse than {bound:g} times: {', '.join(worse) or 'none'}", markup=False
    )
    raise typer.Exit(1 if worse else 0)

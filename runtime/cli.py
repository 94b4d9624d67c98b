"""The command line `msm`; make calls it."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from audit.report import show
from audit.run import audit_once
from bench.commands import cli as bench
from chaos.run import new_folder
from chaos.run import run as run_faults
from chaos.schedule import schedule
from conf.kafka import broker_listens
from conf.settings import Settings, load_settings
from conf.store import refuse_store
from contract.facts import Identifier
from contract.principals import ADMIN, AUDITOR
from jobs.submit import spark_conf
from runtime import stack
from runtime.access import ensure_access
from runtime.backfill_commands import backfill
from runtime.broker import no_answer, prepare_cluster, refuse_missing_broker
from runtime.children import refuse_while_used, run_jobs
from runtime.doctor import main as examine
from runtime.explain import explanation_of, show_explanation
from runtime.forget import forget as erase
from runtime.parts import JOBS, job_metrics, refuse_one_metrics_port
from runtime.processes import end_as_by_ctrl_c
from runtime.rescale import rescale as rescale_states
from runtime.scan import found_in
from runtime.topics import differences, ensure_topics
from service.auth import issue_token

app = typer.Typer(add_completion=False, no_args_is_help=True, help="MySocialMedia's real-time engine.")
app.add_typer(backfill, name="backfill")
app.add_typer(bench, name="bench")
console = Console(highlight=False)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
ONLY = "One fault by its name, in quotes, like 'kill inside MERGE'; again for more. A wrong name lists them."
CORES = ("--total-executor-cores", "spark.cores.max")
DEMO_TRAFFIC = ("--rate", "20")


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


@app.command()
def up() -> None:
    """Start the stack in the background; returns when it is ready."""
    settings = load_settings()
    stack.start(settings, _say)
    console.print(f"live on http://{settings.http_host}:{settings.http_port} (make status, make down)")


@app.command()
def down() -> None:
    """Stop the stack; data stays."""
    console.print("stopped" if stack.stop(load_settings()) else "nothing was running")


@app.command()
def status() -> None:
    """Show how each part is; exit code 1 where one is not ready, 3 where nothing runs."""
    settings = load_settings()
    state = stack.running(settings)
    if state is None:
        console.print(f"no stack runs on {settings.data_dir}: make up starts one")
        raise typer.Exit(3)
    table = Table("part", "state", "pid", "restarts", "worst partition behind")
    for name, part in state["parts"].items():
        behind = _behind(job_metrics(settings, name)) if name in JOBS else ""
        table.add_row(name, _condition(part), str(part["pid"] or ""), str(part["restarts"]), behind)
    console.print(table)
    if not all(part["ready"] for part in state["parts"].values()):
        raise typer.Exit(1)


def _condition(part: dict[str, Any]) -> str:
    if part["ready"]:
        return "ready"
    return f"waits for {', '.join(part['waits_for'])}" if part["waits_for"] else "starts"


def _behind(metrics: dict[str, float]) -> str:
    """Records that wait in the partition that is furthest behind, of all queries of a job; empty: it does not say."""
    lags = [value for metric, value in metrics.items() if metric.startswith("msm_job_lag_records")]
    return f"{max(lags):,.0f}" if lags else ""


@app.command()
def demo() -> None:
    """Start the stack with simulated traffic; Ctrl-C stops it."""
    os.environ["MSM_DEMO"] = "true"
    settings = load_settings()
    end_as_by_ctrl_c()
    started = False
    try:
        stack.start(settings, _say, DEMO_TRAFFIC)
        started = True
        console.print(
            f"\nlive on [bold]http://{settings.http_host}:{settings.http_port}[/bold]   Ctrl-C stops everything"
        )
        while stack.running(settings):
            time.sleep(1)
        raise SystemExit(f"the stack ended: see {settings.log_dir / 'supervisor.log'}")
    except KeyboardInterrupt:
        console.print("\nstopping ...")
    finally:
        if started:  # a start that failed has stopped what it began; what else runs is not ours
            stack.stop(settings)


@app.command(context_settings=PASS_ON)
def simulate(context: typer.Context) -> None:
    """Write simulated facts: --rate, --facts, --since, --users, --posts, --seed, --receipts."""
    settings = load_settings()
    if settings.embedded_kafka and broker_listens(settings.bootstrap):  # it waits for one that is not there yet
        refuse_missing_broker(settings)
    command = [sys.executable, "-m", "producers.simulator", *context.args]
    os.execv(command[0], command)  # it gets the signals that are meant for it


@app.command()
def topics() -> None:
    """Create the topics that are missing, say where existing ones differ, and grant each principal its rights."""
    settings = load_settings()
    refuse_missing_broker(settings)
    for name in ensure_topics(settings):
        console.print(f"created {name}")
    for change in ensure_access(settings):
        console.print(change)
    complaints = differences(settings)
    for complaint in complaints:
        console.print(complaint)
    if complaints:
        raise typer.Exit(1)


@app.command(context_settings={**PASS_ON, "help_option_names": ["--help"]})
def jobs(context: typer.Context) -> None:
    """spark-submit every job against the configured cluster, with options that you give; Ctrl-C stops them.

    Exit code 1 where one ends by itself.
    """
    settings = load_settings()
    refuse_one_metrics_port(settings)
    _warn_of_all_cores(settings, context.args)
    prepare_cluster(settings, _say)
    end_as_by_ctrl_c()
    try:
        run_jobs(settings, context.args, _say)
    except KeyboardInterrupt:
        console.print("stopped")
    else:
        raise typer.Exit(1)


def _warn_of_all_cores(settings: Settings, options: list[str]) -> None:
    """The first of three jobs may take every core, and then the others wait for ever."""
    said = " ".join([*options, *spark_conf()])
    if settings.spark_master.startswith("spark://") and not any(limit in said for limit in CORES):
        _say(
            f"at {settings.spark_master} each job takes all cores that it can get, unless the master has "
            "spark.deploy.defaultCores: limit them with make jobs ARGS='--total-executor-cores N'"
        )


@app.command()
def audit(
    source: Annotated[str, typer.Option("--from", help="archive, or kafka: straight from the topics.")] = "archive",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Recount all facts and compare; exit code 1 on drift, 2 where nothing could be said."""
    if source not in ("archive", "kafka"):
        raise typer.BadParameter("--from is archive or kafka")
    settings = load_settings()
    end_as_by_ctrl_c()
    found: dict[str, Any]
    try:
        wrong = no_answer(settings, AUDITOR)
    except SystemExit as refusal:  # no password
        wrong = str(refusal)
    if wrong:
        code, found = 2, {"error": wrong}
    else:
        with Console(stderr=True).status("recounting every fact ..."):
            code, found = audit_once(settings, source)
    if as_json:
        print(json.dumps(found))
    elif "error" in found:
        Console(stderr=True, highlight=False).print(found["error"], markup=False, soft_wrap=True)
    else:
        show(found, console)
    raise typer.Exit(code)


@app.command()
def chaos(
    seed: Annotated[int, typer.Option(help="The same seed does the same, in the same order.")] = 1,
    short: Annotated[bool, typer.Option("--short", help="The most telling faults only.")] = False,
    only: Annotated[list[str] | None, typer.Option(help=ONLY)] = None,
    data: Annotated[Path | None, typer.Option(help="A data dir to go on with, instead of a fresh one.")] = None,
) -> None:
    """Inflict faults on a stack of its own, and audit after each; exit code 1 on drift, loss or no recovery."""
    names = schedule(seed, short, only or ())
    folder = new_folder(load_settings().data_dir)
    load_settings.cache_clear()  # that stack has settings of its own
    raise typer.Exit(run_faults(folder, data or folder / "stack", seed, names, console))


@app.command()
def explain(
    post_id: Annotated[str, typer.Argument(help="The post.")],
    newest: Annotated[int, typer.Option(min=0, max=100, help="How many records of each kind are named.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Say which facts made a post's numbers; exit code 1 where the sums do not close, 2 where nothing answers."""
    try:
        found = explanation_of(load_settings(), post_id, newest)
    except LookupError as error:
        Console(stderr=True, highlight=False).print(str(error), markup=False)
        raise typer.Exit(2) from None
    if as_json:
        print(json.dumps(found))
    else:
        show_explanation(found, console)
    raise typer.Exit(0 if found["closes"] or found["behind"] else 1)


@app.command()
def doctor() -> None:
    """Check Java, versions, ports, disk, broker, topics and checkpoints."""
    raise typer.Exit(examine(load_settings()))


@app.command()
def forget(
    user: Annotated[str, typer.Argument(help="The user to forget.")],
    facts: Annotated[bool, typer.Option("--facts", help="Out of Kafka's facts and the jobs' state, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a user out of counts, results, lake, pictures and views; the stack must be down.

    It lists what remains, and until when.
    """
    settings = load_settings().acting_as(ADMIN)
    _refuse_no_user(user)
    _refuse_no_data(settings)
    refuse_while_used(settings, "the user")
    if not yes:
        typer.confirm(f"Erase {user} and everything that {user} posted? There is no way back", abort=True)
    table = Table("where", "removed", "what remains, until when")
    for removed in erase(settings, user, facts, console):
        table.add_row(removed.place, removed.what, removed.until)
    console.print(table)


@app.command()
def rescale(
    partitions: Annotated[int, typer.Argument(min=1, help="State partitions of each query from now on.")],
) -> None:
    """Give the states of the jobs another number of partitions; the stack must be down."""
    settings = load_settings()
    _refuse_no_data(settings)
    rescale_states(settings, partitions, _say)
    console.print(f"from now on: MSM_SHUFFLE_PARTITIONS={partitions}")


@app.command()
def scan(words: Annotated[list[str], typer.Argument(help="Text to look for.")]) -> None:
    """Search every file of the data dir, unpacked; exit code 1 where a word is found. Best while the stack is down."""
    settings = load_settings()
    refuse_store(settings, "msm scan", "unset it, and search a copy of the store too, by MSM_DATA_DIR")
    _refuse_no_data(settings)
    found = [f"{path}: {word}" for path, word in found_in(settings.data_dir, words)]
    for line in found:
        _say(line)
    if found:
        raise typer.Exit(1)
    console.print("nowhere")


@app.command()
def token(user: Annotated[str, typer.Argument(help="The user to act as.")]) -> None:
    """Print a JWT for a user, signed with this stack's key; good for a day."""
    _refuse_no_user(user)
    print(issue_token(load_settings(), user, 24 * 60 * 60))


def _refuse_no_user(name: str) -> None:
    try:
        TypeAdapter(Identifier).validate_python(name)
    except ValidationError:
        raise SystemExit(f"{name!r} is no user: 1 to 64 characters of A-Z a-z 0-9 _ -") from None


def _refuse_no_data(settings: Settings) -> None:
    """SystemExit with the fix where there is nothing to work on, and doing nothing would look like success."""
    if not settings.store and not settings.data_dir.is_dir():
        raise SystemExit(f"there is no data dir {settings.data_dir}: set MSM_DATA_DIR to the one that you mean")


def main() -> None:
    """The entry point."""
    try:
        app()
    except TimeoutError as error:
        raise SystemExit(str(error)) from None
    except OSError as error:
        data_dir = load_settings().data_dir
        if not error.filename or not Path(error.filename).is_relative_to(data_dir):
            raise
        raise SystemExit(
            f"{error.filename}: {error.strerror}: mend that, or set MSM_DATA_DIR to a folder of your own"
        ) from None


if __name__ == "__main__":
    main()

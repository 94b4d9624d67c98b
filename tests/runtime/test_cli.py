"""What the commands say and do before anything runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path

import jwt
import psutil
import pytest
from pyspark.sql import Row
from rich.console import Console
from typer.testing import CliRunner, Result

from conf import REPOSITORY
from conf.settings import Settings, load_settings
from jobs.generations import Comparison
from runtime import broker, cli, stack
from runtime.backfill_commands import _differences
from runtime.processes import wait_until


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("MSM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MSM_DEMO", "false")  # `msm demo` sets it
    monkeypatch.setenv("MSM_KAFKA_BOOTSTRAP", "127.0.0.1:1")  # nobody listens there
    load_settings.cache_clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}  # a demo sets them
    yield load_settings()
    for number, handler in before.items():
        signal.signal(number, handler)
    load_settings.cache_clear()


def msm(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def test_a_caption_in_brackets_is_shown_as_it_is() -> None:
    post = {"likes": 1, "comments": 0, "caption": "so [/b] it [red]is[/]"}
    row = Row(post_id="p1", verdict="different", live=Row(post=post), beside=None)
    shown = Console(file=StringIO(), width=200)
    shown.print(_differences(Comparison({"different": 1}, [row])))
    assert "1 likes, 0 comments, 'so [/b] it [red]is[/'" in shown.file.getvalue()  # type: ignore[attr-defined]


def test_a_demo_beside_a_running_stack_leaves_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "running", lambda _: {"parts": {}})
    monkeypatch.setattr(stack, "stop", lambda _: pytest.fail("the other stack is stopped"))
    done = msm("demo")
    assert done.exit_code == 1
    assert "a stack already runs" in done.output


def test_a_demo_that_is_interrupted_stops_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: Settings) -> None:
        raise KeyboardInterrupt

    stopped: list[Settings] = []
    monkeypatch.setattr(stack, "start", lambda *_: None)
    monkeypatch.setattr(stack, "running", interrupt)
    monkeypatch.setattr(stack, "stop", stopped.append)
    assert msm("demo").exit_code == 0
    assert stopped == [load_settings()]


@pytest.mark.parametrize("command", ["topics", "jobs", "up"])
def test_without_a_broker_one_is_told_at_once(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cli, broker):
        monkeypatch.setattr(module, "ensure_topics", lambda _: pytest.fail("it is tried all the same"))
    said = "no Kafka broker answers at 127.0.0.1:1: none takes a connection: check MSM_KAFKA_BOOTSTRAP"
    assert said in msm(command).output


@pytest.mark.parametrize("line", [("forget", "ada", "--yes"), ("rescale", "8"), ("scan", "ada")])
def test_where_there_is_no_data_dir_there_is_nothing_to_work_on(
    line: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSM_DATA_DIR", str(tmp_path / "dta"))
    load_settings.cache_clear()
    done = msm(*line)
    assert (done.exit_code, done.output) == (
        1,
        f"there is no data dir {tmp_path / 'dta'}: set MSM_DATA_DIR to the one that you mean\n",
    )
    assert not (tmp_path / "dta").exists()


@pytest.mark.parametrize("command", ["up", "jobs"])
def test_jobs_of_one_machine_do_not_share_a_port_for_metrics(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSM_METRICS_PORT", "9400")
    load_settings.cache_clear()
    assert "MSM_METRICS_PORT is 9400, and the jobs that start here cannot share a port" in msm(command).output


@pytest.mark.parametrize(
    ("options", "is_warned"),
    [((), True), (("--conf", "spark.cores.max=2"), False), (("--total-executor-cores", "2"), False)],
)
def test_who_may_let_one_job_take_all_cores_of_a_standalone_master_is_warned(
    options: tuple[str, ...], is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSM_SPARK_MASTER", "spark://one:7077")
    load_settings.cache_clear()
    said = msm("jobs", *options).output
    assert ("each job takes all cores that it can get" in said) == is_warned
    assert "no Kafka broker answers" in said


def test_a_data_dir_of_somebody_else_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "run" / "stack.lock"
    lock.mkdir(parents=True)  # who is root may open every file
    monkeypatch.setattr("sys.argv", ["msm", "up"])
    with pytest.raises(SystemExit, match=rf"^{lock}: Is a directory: mend that, or set MSM_DATA_DIR"):
        cli.main()


@pytest.mark.parametrize("command", ["status", "chaos", "bench"])
def test_a_wrong_setting_is_one_sentence(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSM_HTTP_PORT", "many")
    load_settings.cache_clear()
    done = msm(command)
    assert done.exit_code == 1
    assert done.output.startswith("MSM_HTTP_PORT (or http_port in ")


def test_the_help_of_simulate_is_the_simulators() -> None:
    line = [sys.executable, "-m", "runtime.cli", "simulate", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=60)
    assert "--rate" in done.stdout


def test_a_simulator_gets_the_folder_and_the_signals_of_its_command(settings: Settings, tmp_path: Path) -> None:
    def simulators() -> list[int]:
        running = psutil.process_iter(["environ", "cmdline"])
        ours = [one for one in running if (one.info["environ"] or {}).get("MSM_DATA_DIR") == str(settings.data_dir)]
        return [one.pid for one in ours if "producers.simulator" in (one.info["cmdline"] or [])]

    receipts = tmp_path / "receipts"
    line = [sys.executable, "-m", "runtime.cli", "simulate", "--receipts", receipts.name]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = subprocess.Popen(line, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: bool(simulators()), 120, lambda: "no simulator starts")
        begun = simulators()
        wait_until(receipts.exists, 120, lambda: "no receipts")
        command.terminate()
        command.wait(30)
        assert (begun, simulators()) == ([command.pid], [])
    finally:
        command.kill()
        for pid in simulators():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["a b", "", "x" * 65])
@pytest.mark.parametrize("command", ["token", "forget"])
def test_what_no_service_takes_for_a_user_is_refused(command: str, name: str) -> None:
    done = msm(command, name)
    assert (done.exit_code, done.output) == (1, f"{name!r} is no user: 1 to 64 characters of A-Z a-z 0-9 _ -\n")


def test_a_token_names_its_user() -> None:
    claims = jwt.decode(msm("token", "ada").output.strip(), options={"verify_signature": False})
    assert claims["sub"] == "ada"


def test_the_status_of_a_job_is_the_lag_of_its_worst_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"ready": True, "pid": 1, "restarts": 0, "waits_for": []}
    lags = {'msm_job_lag_records{query="panes"}': 4_000.0, 'msm_job_lag_records{query="first_hours"}': 300.0}
    monkeypatch.setattr(stack, "running", lambda _: {"parts": {"web": part, "trending_posts": part, "archive": part}})
    monkeypatch.setattr(cli, "job_metrics", lambda _, name: lags if name == "trending_posts" else {})
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in msm("status").output.splitlines()]
    assert {row[0]: row[4] for row in cells if row} == {"web": "", "trending_posts": "4,000", "archive": ""}

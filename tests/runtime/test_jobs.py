"""`msm jobs` runs all jobs or none, and leaves nobody behind; a job says where it is, or why it cannot."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from conf.settings import Settings
from jobs import harness
from jobs.running import announce, read_state
from runtime import children
from runtime.parts import JOBS, runs
from runtime.processes import Process, wait_until
from tests.feeds.serving import free_ports
from tests.runtime.stand_in_jobs import stand_in

PATIENCE = 600
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Starts `msm jobs` with stand-ins."""
    started = []

    def run(*options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.runtime.stand_in_jobs", *options]
        env = {**os.environ, "MSM_DATA_DIR": str(settings.data_dir)}
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def left(settings: Settings) -> list[int]:
    """Whose data dir is this one."""
    found = psutil.process_iter(["environ"])
    return [one.pid for one in found if (one.info["environ"] or {}).get("MSM_DATA_DIR") == str(settings.data_dir)]


def all_run(settings: Settings) -> bool:
    return all(runs(settings, name) for name in JOBS)


def test_options_go_to_every_job_and_where_one_ends_the_others_stop(settings: Settings, start: Start) -> None:
    process = start("--fail", "archive")
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert f"archive ended with exit code 3: the others stop (log: {settings.log_dir / 'archive.log'})" in said
    for name in JOBS:
        assert f"{name} --fail archive" in (settings.log_dir / f"{name}.log").read_text()
    assert left(settings) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_interrupts_them_lets_each_end_its_batch(settings: Settings, start: Start, number: signal.Signals) -> None:
    process = start("--total-executor-cores", "2")
    wait_until(lambda: all_run(settings), PATIENCE, lambda: "the jobs do not run")
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    for name in JOBS:
        assert f"{name} --total-executor-cores 2" in said
        assert f"{name} stopped between two batches" in said
    assert left(settings) == []


def test_a_job_that_only_starts_is_not_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "spark_submit", lambda *_: ["sleep", "3600"])
    monkeypatch.setattr(children, "STOP_SECONDS", 20)
    with children.running_jobs(settings, JOBS) as started:
        assert [process.exit_code for process in started.values()] == [None] * len(JOBS)
    assert [process.exit_code for process in started.values()] == [-signal.SIGTERM] * len(JOBS)


def test_jobs_that_a_command_runs_know_whose_they_are_and_count_in_batches(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "spark_submit", lambda *_: ["sh", "-c", "env"])
    beside = settings.model_copy(update={"beside": True, "counts_trigger": "real-time"})
    with children.running_jobs(beside, ["archive"], {"MORE": "1"}) as started:
        process = started["archive"]
        wait_until(lambda: process.exit_code is not None, PATIENCE, lambda: "env does not end")
        told = process.log.read_text().splitlines()
    assert process.log.name == "archive-beside.log"
    assert {"MSM_BESIDE=true", "MSM_COUNTS_TRIGGER=micro-batch", "MORE=1"} <= set(told)


def test_jobs_that_a_command_runs_do_not_share_the_port_that_is_set_for_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_ports(1)
    monkeypatch.setenv("MSM_METRICS_PORT", str(port))
    monkeypatch.setattr(children, "spark_submit", stand_in)
    with children.running_jobs(settings.model_copy(update={"metrics_port": port}), JOBS) as started:
        wait_until(
            lambda: all_run(settings) or any(process.exit_code is not None for process in started.values()),
            PATIENCE,
            lambda: "the jobs do not run",
        )
        assert {process.exit_code for process in started.values()} == {None}
        found = {read_state(settings.run_dir, job)["metrics_port"] for job in JOBS}
    assert len(found - {port}) == len(JOBS)


def test_jobs_have_caught_up_once_each_says_so_and_one_that_ended_never_will(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = dict.fromkeys(JOBS, 1.0)
    monkeypatch.setattr(children, "job_metrics", lambda _, job: {"msm_job_ready": ready[job]} if job in ready else {})
    process = Process.start("archive", ["sleep", "3600"], settings.data_dir, {})
    try:
        jobs = dict.fromkeys(JOBS, process)
        assert children.caught_up(settings, jobs)
        ready["archive"] = 0.0
        assert not children.caught_up(settings, jobs)
        del ready["archive"]
        assert not children.caught_up(settings, jobs)
    finally:
        process.kill()
    ended = Process.start("archive", [sys.executable, "-c", "raise SystemExit('no room')"], settings.data_dir, {})
    wait_until(lambda: ended.exit_code is not None, PATIENCE, lambda: "it does not end")
    ready["archive"] = 1.0
    with pytest.raises(SystemExit, match="archive ended: no room"):
        children.caught_up(settings, {"archive": ended})


def test_the_job_of_another_is_not_stopped_with_one_that_waits_for_it(settings: Settings, start: Start) -> None:
    env = {"MSM_DATA_DIR": str(settings.data_dir)}
    command = [sys.executable, "-m", "tests.runtime.stand_in_jobs", "be", "archive"]
    other = Process.start("other", command, settings.data_dir, env)
    try:
        wait_until(lambda: runs(settings, "archive") is not None, PATIENCE, lambda: "the other does not run")
        process = start()
        waits = settings.log_dir / "archive.log"
        wait_until(lambda: waits.exists() and "waits for" in waits.read_text(), PATIENCE, lambda: "it does not wait")
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert other.exit_code is None
    finally:
        other.kill()


def test_an_address_for_metrics_that_cannot_be_had_is_named_with_its_settings(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        taken = settings.model_copy(update={"metrics_port": port})
        with pytest.raises(SystemExit, match=rf"127\.0\.0\.1:{port} \(.*in use.*MSM_METRICS_PORT.*MSM_METRICS_HOST"):
            announce(taken, "archive")


def test_another_spark_may_come_from_spark_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = SimpleNamespace(getOrCreate=lambda: SimpleNamespace(version="1.0"))
    monkeypatch.setattr(harness.realtime, "prepared", lambda *_: foreign)
    with pytest.raises(SystemExit, match=r"spark-submit is of Spark 1\.0, .*SPARK_HOME"):
        harness.spark_session("archive", settings)

"""Who starts a stack waits as long as it gets further, is told of it, and gives up where nothing moves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from conf.settings import Settings
from conf.store import write_whole
from jobs.running import STACK, state_file
from runtime import stack

LAG = 'msm_job_lag_records{query="posts_with_counts"}'


class Supervisor:
    """Stands in for the process: it lives."""

    pid = os.getpid()

    def poll(self) -> None:
        return None


def write_state(settings: Settings, ready: bool) -> None:
    settings.run_dir.mkdir(exist_ok=True)
    parts = {"broker": {"ready": True}, "posts_with_counts": {"ready": ready}}
    (settings.run_dir / "stack.json").write_text(json.dumps({"pid": Supervisor.pid, "parts": parts}))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(stack, "READY_SECONDS", 0.25)
    monkeypatch.setattr(stack, "LOOK_SECONDS", 0.1)
    settings = Settings(data_dir=tmp_path)
    write_state(settings, ready=False)
    return settings


def follow(settings: Settings, lags: list[float], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said while each look at the counts finds the next lag; ready with the last one."""
    said: list[str] = []

    def metrics(_: Settings, job: str) -> dict[str, float]:
        if job != "posts_with_counts":
            return {}
        lag = lags.pop(0)
        write_state(settings, ready=not lags)
        return {LAG: lag, 'msm_job_lag_records{query="ticks"}': 0}

    monkeypatch.setattr(stack, "job_metrics", metrics)
    process: Any = Supervisor()
    stack._follow(settings, process, said.append)
    return said


def test_a_job_that_catches_up_is_waited_for_and_told_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lags = [3_000_000.0 - 200_000 * look for look in range(10)]
    said = follow(settings, lags, monkeypatch)
    assert [line.split("  ")[-1] for line in said[1:3]] == [
        "posts_with_counts catches up: 3,000,000 records behind",
        "posts_with_counts catches up: 2,800,000 records behind",
    ]
    assert said[-1].endswith("posts_with_counts is ready")


def test_one_that_gets_no_further_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    back_and_forth = [900.0, 1_000.0] * 100
    with pytest.raises(TimeoutError, match="no further for 0 s: posts_with_counts"):
        follow(settings, back_and_forth, monkeypatch)
    assert len(back_and_forth) > 150


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_supervisor_is_known_though_the_clock_was_set_and_another_stacks_is_not(
    tmp_path: Path, is_ours: bool
) -> None:
    settings = Settings(data_dir=tmp_path / "ours")
    of = settings.data_dir if is_ours else tmp_path / "others"
    command = [sys.executable, "-c", "print(flush=True); input()", stack.MODULE]
    env = {**os.environ, "MSM_DATA_DIR": str(of)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout
        process.stdout.readline()  # before its first line it may not have got its arguments and environment yet
        began = psutil.Process(process.pid).create_time()
        write_whole(state_file(settings.run_dir, STACK), {"pid": process.pid, "started_at": began - 10})
        assert bool(stack.running(settings)) == is_ours
    assert stack.running(settings) is None

"""The supervisor brings parts up in order, restarts what dies, gives up aloud, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from conf.settings import Settings
from jobs.running import STACK, read_state
from runtime import stack
from runtime.parts import runs
from runtime.processes import Process, wait_until
from tests.runtime.stand_in_jobs import stand_in

PATIENCE = 600


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def supervise(settings: Settings) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a supervisor of stand-ins, there or on other settings; whatever is left is stopped afterwards."""
    started = []

    def start(*names: str, on: Settings = settings) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.runtime.stand_in_stack", *names]
        env = {**os.environ, "MSM_DATA_DIR": str(on.data_dir)}
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append((process, on))
        return process

    yield start
    for process, its in started:
        process.kill()
        process.wait()
        stack.sweep(its)


def part(settings: Settings, name: str) -> dict[str, Any]:
    state = read_state(settings.run_dir, STACK)
    return dict(state.get("parts", {}).get(name, {"pid": None, "ready": False, "restarts": 0}))


def await_ready(settings: Settings, *names: str) -> None:
    wait_until(lambda: all(part(settings, name)["ready"] for name in names), PATIENCE, lambda: f"{names} not ready")


def children(settings: Settings) -> list[int]:
    return [part(settings, name)["pid"] for name in ("first", "second")]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_parts_come_up_in_order_and_leave_together(settings: Settings, supervise: Any) -> None:
    supervisor = supervise()
    await_ready(settings, "first", "second")
    pids = children(settings)
    assert (settings.data_dir / "first").stat().st_mtime <= (settings.data_dir / "second").stat().st_mtime
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(PATIENCE) == 0
    assert all(gone(pid) for pid in pids)
    assert not read_state(settings.run_dir, STACK)


def test_a_part_that_is_killed_comes_back(settings: Settings, supervise: Any) -> None:
    supervise()
    await_ready(settings, "first", "second")
    killed = part(settings, "first")["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: part(settings, "first")["restarts"] == 1, PATIENCE, lambda: "nobody saw the death")
    await_ready(settings, "first")
    assert part(settings, "first")["pid"] != killed


def test_a_full_disk_ends_no_stack_that_was_up(settings: Settings, supervise: Any) -> None:
    supervisor = supervise()
    await_ready(settings, "first", "second")
    full, lives = settings.data_dir / "full", settings.data_dir / "first"
    full.touch()
    lives.unlink()
    os.kill(part(settings, "first")["pid"], signal.SIGKILL)
    wait_until(lives.exists, PATIENCE, lambda: "not started again")
    assert part(settings, "first")["restarts"] == 0, "the disk was not full"
    full.unlink()
    wait_until(lambda: part(settings, "first")["restarts"] == 1, PATIENCE, lambda: "not written down")
    await_ready(settings, "first")
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(PATIENCE) == 0


def test_a_part_that_cannot_be_asked_is_asked_again(settings: Settings, supervise: Any) -> None:
    supervise("moody")
    await_ready(settings, "first", "second", "moody")
    assert [part(settings, name)["restarts"] for name in ("first", "second", "moody")] == [0, 0, 0]


def test_the_job_of_another_is_not_stopped_with_a_part_that_waits_for_it(settings: Settings, supervise: Any) -> None:
    env = {"MSM_DATA_DIR": str(settings.data_dir)}
    other = Process.start("other", stand_in(settings, "archive"), settings.data_dir, env)
    try:
        wait_until(lambda: runs(settings, "archive") is not None, PATIENCE, lambda: "the other does not run")
        supervisor = supervise("archive")
        waits = settings.log_dir / "archive.log"
        wait_until(lambda: waits.exists() and "waits for" in waits.read_text(), PATIENCE, lambda: "it does not wait")
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(PATIENCE) == 0
        assert other.exit_code is None
    finally:
        other.kill()


def test_a_part_that_never_comes_up_ends_the_stack_with_its_own_words(settings: Settings, supervise: Any) -> None:
    supervisor = supervise("hopeless")
    assert supervisor.wait(PATIENCE) == 1
    state = read_state(settings.run_dir, STACK)
    assert "hopeless does not come up: the disk is full: free some space" in state["failed"]


def test_down_stops_what_a_killed_supervisor_left_behind(settings: Settings, supervise: Any) -> None:
    supervisor = supervise()
    await_ready(settings, "first", "second")
    pids = children(settings)
    supervisor.kill()
    supervisor.wait()
    assert stack.stop(settings)
    wait_until(lambda: all(gone(pid) for pid in pids), PATIENCE, lambda: f"left behind: {pids}")


def test_two_stacks_live_side_by_side(tmp_path: Path, settings: Settings, supervise: Any) -> None:
    other = Settings(data_dir=tmp_path / "other")
    other.data_dir.mkdir()
    supervise()
    second = supervise(on=other)
    await_ready(settings, "first", "second")
    await_ready(other, "first", "second")
    assert stack.stop(other)
    assert second.wait(PATIENCE) == 0
    assert stack.running(settings)

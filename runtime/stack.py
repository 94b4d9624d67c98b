"""The stack from outside: start it, stop it, see how it is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psutil

from conf.settings import Settings
from runtime.broker import REPOSITORY, is_taken, refuse_taken_ports
from runtime.processes import kill_session, wait_until

READY_SECONDS = 240
STOP_SECONDS = 120
LIVE = {"web", "posts_with_counts"}
"""What the page needs to show live numbers."""
State = dict[str, Any]


def read_state(settings: Settings) -> State | None:
    """What the supervisor wrote down last; None where no stack was started, or it was stopped."""
    try:
        state: State = json.loads((settings.run_dir / "stack.json").read_text())
    except (OSError, ValueError):
        return None
    return state


def running(settings: Settings) -> State | None:
    """The state, where its supervisor lives."""
    state = read_state(settings)
    return state if state and _supervisor(state) else None


def _supervisor(state: State) -> psutil.Process | None:
    """The process that wrote the state, and not one that was given its number later."""
    try:
        process = psutil.Process(state["pid"])
        same = abs(process.create_time() - state["started_at"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, KeyError):
        return None
    return process if same else None


def start(settings: Settings, say: Callable[[str], None], simulate: Sequence[str] | None = None) -> None:
    """Start the stack in the background and return when every part is ready; SystemExit with the reason if not."""
    if running(settings):
        raise SystemExit(f"a stack already runs on {settings.data_dir}: make status shows it, make down stops it")
    sweep(settings)
    _refuse_taken_ports(settings)
    process = _launch(settings, simulate)
    try:
        _follow(settings, process, say)
    except BaseException:
        process.terminate()  # it may be too young to have said anything of itself
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        if (read_state(settings) or {}).get("pid") == process.pid:  # and not another one's, who was quicker
            stop(settings)
        raise


def _refuse_taken_ports(settings: Settings) -> None:
    if settings.embedded_kafka:
        refuse_taken_ports(settings)
    if is_taken(settings.http_port, settings.http_host):
        raise SystemExit(f"port {settings.http_port} of the website is in use: set MSM_HTTP_PORT to a free one")


def _launch(settings: Settings, simulate: Sequence[str] | None) -> "subprocess.Popen[bytes]":
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "runtime.supervisor"]
    if simulate is not None:
        command += ["--simulate", *simulate]
    with (settings.log_dir / "supervisor.log").open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=REPOSITORY,
            env={**os.environ, "MSM_DATA_DIR": str(settings.data_dir.absolute())},
        )


def _follow(settings: Settings, process: "subprocess.Popen[bytes]", say: Callable[[str], None]) -> None:
    began, told = time.monotonic(), set[str]()

    def all_ready() -> bool:
        state = read_state(settings) or {}
        if state.get("failed"):
            raise SystemExit(str(state["failed"]))
        if process.poll() is not None:
            raise SystemExit(f"the supervisor ended: see {settings.log_dir / 'supervisor.log'}")
        parts = state.get("parts", {}) if state.get("pid") == process.pid else {}
        for name in [name for name, part in parts.items() if part["ready"] and name not in told]:
            told.add(name)
            say(f"{time.monotonic() - began:5.1f} s  {name} is ready")
            if name in LIVE and told >= LIVE:
                say(f"         the page is live on http://{settings.http_host}:{settings.http_port}")
        return bool(parts) and len(told) == len(parts)

    def complaint() -> str:
        waiting = [name for name in (read_state(settings) or {}).get("parts", {}) if name not in told]
        return f"not ready after {READY_SECONDS} s: {', '.join(waiting)}; the logs are in {settings.log_dir}"

    wait_until(all_ready, READY_SECONDS, complaint)


def stop(settings: Settings) -> bool:
    """Stop the stack and whatever is left of it; False where there was nothing to stop."""
    state = read_state(settings)
    supervisor = _supervisor(state) if state else None
    if supervisor:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            supervisor.kill()
    sweep(settings)
    return state is not None


def sweep(settings: Settings) -> None:
    """Kill what a supervisor that was killed itself left behind."""
    state = read_state(settings)
    for part in (state or {}).get("parts", {}).values():
        if part["pid"] and _is_ours(part["pid"], settings):
            kill_session(part["pid"])
    (settings.run_dir / "stack.json").unlink(missing_ok=True)


def _is_ours(leader: int, settings: Settings) -> bool:
    """Whether some process of this session has our data dir in its environment: numbers are given again."""
    data_dir = str(settings.data_dir.absolute())
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.environ().get("MSM_DATA_DIR") == data_dir:
                return True
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return False

"""The stack from outside: start it, stop it, see how it is."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import psutil

from conf import REPOSITORY
from conf.settings import Settings
from jobs.running import STACK, is_held, read_state, refuse_unfinished_forget, state_file
from runtime.broker import is_taken, prepare_cluster, refuse_full_disk, refuse_taken_ports
from runtime.parts import JOBS, job_metrics, refuse_one_metrics_port
from runtime.processes import kill_session, wait_while_it_moves

READY_SECONDS, LOOK_SECONDS = 900.0, 10.0
"""How long a start may take without getting any further; how often it is told how far jobs are that catch up."""
STOP_SECONDS = 120
LIVE = {"web", "posts_with_counts"}
"""What the page needs to show live numbers."""
MODULE = "runtime.supervisor"
COMMAND, AT_WORK = "command", "msm forget, rescale or backfill is at work on {}: wait until it is done"
"""The lock of the commands that change checkpoints and tables, and what whoever meets it is told."""
State = dict[str, Any]


def running(settings: Settings) -> State | None:
    """The state, where its supervisor lives."""
    state = read_state(settings.run_dir, STACK)
    return state if _supervisor(settings, state) else None


def _supervisor(settings: Settings, state: State) -> psutil.Process | None:
    """The process that wrote the state, and not one that was given its number later."""
    try:
        process = psutil.Process(state["pid"])
        # When it began is reckoned from the clock of now, which may have been set.
        same = abs(process.create_time() - state["started_at"]) < 1 or (
            MODULE in process.cmdline() and _has_our_data(process, settings)
        )
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, KeyError):
        return None


def _has_our_data(process: psutil.Process, settings: Settings) -> bool:
    return bool(process.environ().get("MSM_DATA_DIR") == str(settings.data_dir))


def start(settings: Settings, say: Callable[[str], None], simulate: Sequence[str] | None = None) -> None:
    """Start the stack in the background and return when every part is ready; SystemExit with the reason if not."""
    if running(settings):
        raise SystemExit(f"a stack already runs on {settings.data_dir}: make status shows it, make down stops it")
    if is_held(settings.run_dir, STACK):
        raise SystemExit(
            f"msm forget or rescale is at work on {settings.data_dir}, or a stack just starts or ends: wait"
        )
    refuse_unfinished_forget(settings.data_dir)
    refuse_one_metrics_port(settings)
    sweep(settings)
    if settings.embedded_kafka:
        refuse_full_disk(settings)
    else:
        prepare_cluster(settings, say)
    _refuse_taken_ports(settings)
    process = _launch(settings, simulate)
    try:
        _follow(settings, process, say)
    except BaseException:
        process.terminate()  # it may be too young to have said anything of itself
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        if read_state(settings.run_dir, STACK).get("pid") == process.pid:  # and not another one's, who was quicker
            stop(settings)
        raise


def _refuse_taken_ports(settings: Settings) -> None:
    if settings.embedded_kafka:
        if is_taken(settings.kafka_port) and is_held(settings.run_dir, COMMAND):  # it has brought the broker
            raise SystemExit(AT_WORK.format(settings.data_dir))
        refuse_taken_ports(settings)
    refuse_taken_website(settings)


def refuse_taken_website(settings: Settings) -> None:
    """SystemExit where something else has the website's port."""
    if is_taken(settings.http_port, settings.http_host):
        raise SystemExit(f"port {settings.http_port} of the website is in use: set MSM_HTTP_PORT to a free one")


def _launch(settings: Settings, simulate: Sequence[str] | None) -> "subprocess.Popen[bytes]":
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", MODULE]
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
            env={
                **os.environ,
                "MSM_DATA_DIR": str(settings.data_dir),
                "MSM_KAFKA_SECRETS_DIR": settings.kafka_secrets_dir,
            },
        )


def _follow(settings: Settings, process: "subprocess.Popen[bytes]", say: Callable[[str], None]) -> None:
    began, told = time.monotonic(), set[str]()

    def all_ready() -> bool:
        state = read_state(settings.run_dir, STACK)
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
        waiting = [name for name in read_state(settings.run_dir, STACK).get("parts", {}) if name not in told]
        return f"no further for {READY_SECONDS:.0f} s: {', '.join(waiting)}; the logs are in {settings.log_dir}"

    least, were_ready = dict[str, float](), set[str]()

    def moved() -> bool:
        nonlocal were_ready
        nearer = _nearer(settings, set(JOBS) - told, least)
        for name, left in nearer.items():
            say(f"{time.monotonic() - began:5.1f} s  {name} catches up: {left:,.0f} records behind")
        before, were_ready = were_ready, set(told)
        return bool(nearer) or were_ready != before

    wait_while_it_moves(all_ready, moved, LOOK_SECONDS, READY_SECONDS, complaint)


def _nearer(settings: Settings, jobs: Iterable[str], least: dict[str, float]) -> dict[str, float]:
    """The jobs with a query that has less before it than ever, in records; `least` is what each query had."""
    nearer = {}
    for job in sorted(jobs):
        lags = {name: lag for name, lag in job_metrics(settings, job).items() if name.startswith("msm_job_lag_records")}
        if any(lag < least.get(name, math.inf) for name, lag in lags.items()):
            nearer[job] = max(lags.values())
        least |= {name: min(lag, least.get(name, math.inf)) for name, lag in lags.items()}
    return nearer


def stop(settings: Settings) -> bool:
    """Stop the stack and whatever is left of it; False where there was nothing to stop."""
    state = read_state(settings.run_dir, STACK)
    supervisor = _supervisor(settings, state)
    if supervisor:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            supervisor.kill()
    sweep(settings)
    return bool(state)


def sweep(settings: Settings) -> None:
    """Kill what a supervisor that was killed itself left behind."""
    state = read_state(settings.run_dir, STACK)
    for part in state.get("parts", {}).values():
        if part["pid"] and _is_ours(part["pid"], settings):
            kill_session(part["pid"])
    state_file(settings.run_dir, STACK).unlink(missing_ok=True)


def _is_ours(leader: int, settings: Settings) -> bool:
    """Whether some process of this session has our data dir in its environment: numbers are given again."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and _has_our_data(process, settings):
                return True
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return False

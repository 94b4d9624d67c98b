"""The parts of the local stack: what runs, how one knows that it is ready, what it waits for."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psutil

from conf.http import get
from conf.settings import Settings
from jobs.checkpoints import STATES
from jobs.running import is_held, read_state
from jobs.submit import spark_submit
from runtime.access import ensure_access
from runtime.broker import is_ready
from runtime.processes import Process
from runtime.topics import ensure_topics

JOBS = tuple(STATES)
AUDITOR = "auditor"
PYTHON = sys.executable


@dataclass(frozen=True)
class Part:
    """`ready` is asked until it says yes; a part starts when all of `after` are ready.

    `ask_to_stop` is how it ends well, and false where nobody could be asked; SIGTERM then, or where there is none.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    after: tuple[str, ...] = ()
    ask_to_stop: Callable[[Process], bool] | None = None


def stack_parts(settings: Settings, simulate: tuple[str, ...] | None = None) -> list[Part]:
    """Broker, jobs, website, in the order in which a like comes through; with `simulate`, traffic too."""
    parts = [_broker(settings)] if settings.embedded_kafka else []
    after_broker = tuple(part.name for part in parts)
    parts.append(_job(settings, JOBS[0], after_broker))
    parts.append(_web(settings, after_broker))
    # The page lives from the first two: the other jobs do not compete with their start.
    parts += [_job(settings, name, (JOBS[0],)) for name in JOBS[1:]]
    if settings.audit_every_seconds:
        # Last of all, and nobody waits for its first result.
        parts.append(Part(AUDITOR, (PYTHON, "-m", "audit.auditor"), lambda: True, after=("web", *JOBS)))
    if simulate is not None:
        command = (PYTHON, "-m", "producers.simulator", *simulate)
        parts.append(Part("simulator", command, lambda: True, after=("web", JOBS[0])))
    return parts


def _broker(settings: Settings) -> Part:
    return Part("broker", (PYTHON, "-m", "runtime.broker"), lambda: _has_topics(settings))


def _has_topics(settings: Settings) -> bool:
    if not is_ready(settings):
        return False
    ensure_topics(settings)
    ensure_access(settings)
    return True


def _web(settings: Settings, after: tuple[str, ...]) -> Part:
    url = f"http://{settings.http_host}:{settings.http_port}/healthz"
    return Part("web", (PYTHON, "-m", "runtime.web"), lambda: _get(url) is not None, after)


def _job(settings: Settings, name: str, after: tuple[str, ...]) -> Part:
    return Part(
        name,
        spark_submit(settings, name),
        lambda: job_metrics(settings, name).get("msm_job_ready") == 1,
        after,
        ask_to_stop=partial(ask_to_stop, settings, name),
    )


def job_metrics(settings: Settings, name: str) -> dict[str, float]:
    """The metrics of a running job, labels in the name; empty where it does not answer."""
    port = read_state(settings.run_dir, name).get("metrics_port")
    text = (_get(f"http://127.0.0.1:{port}/metrics") if port else None) or ""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {metric: float(value) for metric, value in lines}


def runs(settings: Settings, name: str) -> int | None:
    """The process id of the job's driver, where it says that it runs and holds its lock; ids are given again."""
    pid: int | None = read_state(settings.run_dir, name).get("pid")
    return pid if pid and psutil.pid_exists(pid) and is_held(settings.run_dir, name) else None


def ask_to_stop(settings: Settings, name: str, process: Process) -> bool:
    """SIGTERM to the job's driver, which is a child of the JVM: it stops between two batches.

    False where the process does not run its job, but starts, or waits for another that does.
    """
    pid = runs(settings, name)
    with suppress(ProcessLookupError):
        if pid is not None and os.getsid(pid) == process.popen.pid:
            os.kill(pid, signal.SIGTERM)
            return True
    return False


def refuse_one_metrics_port(settings: Settings) -> None:
    """SystemExit with the fix where all jobs of this machine would listen at one port."""
    if settings.metrics_port:
        raise SystemExit(
            f"MSM_METRICS_PORT is {settings.metrics_port}, and the jobs that start here cannot share a port: unset it, "
            f"and {settings.run_dir}/NAME.json says which port each has taken"
        )


def _get(url: str) -> str | None:
    try:
        return get(url, 2).decode()
    except (OSError, ValueError):
        return None

"""Jobs that a command runs for its own time, and live jobs that it makes wait."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from conf.settings import Settings
from conf.store import checkpoints
from jobs.checkpoints import begun_batch, done_batch
from jobs.locks import taken
from jobs.submit import job_env, spark_submit
from runtime import beside, stack
from runtime.access import ensure_access
from runtime.broker import REPOSITORY, embedded_broker, is_ready
from runtime.parts import JOBS, job_metrics, runs
from runtime.processes import Process, wait_until
from runtime.topics import ensure_topics

STOP_SECONDS = 180
TRENDING = "trending_posts"


@contextmanager
def a_broker(settings: Settings) -> Iterator[None]:
    """The broker that runs, else the embedded one for the time of the block."""
    with ExitStack() as stack:
        if not is_ready(settings):
            if not settings.embedded_kafka:
                raise SystemExit(f"no Kafka broker answers at {settings.bootstrap}: set MSM_KAFKA_BOOTSTRAP")
            stack.enter_context(embedded_broker(settings))
        ensure_topics(settings)
        ensure_access(settings)
        yield


@contextmanager
def running_jobs(settings: Settings, jobs: Sequence[str]) -> Iterator[Mapping[str, Process]]:
    """The jobs as processes of this one; at the end they stop between two batches.

    All in batches: whoever runs them waits until they have committed, which in real time would be minutes.
    """
    settings = settings.counting_in_batches()
    env = job_env(settings)
    suffix = "-beside" if settings.beside else ""
    stop_files = [settings.run_dir / f"{job}.stop" for job in jobs]
    with ExitStack() as stack:
        started = {}
        for job in jobs:
            process = Process.start(f"{job}{suffix}", spark_submit(settings, job), settings.log_dir, env, REPOSITORY)
            stack.callback(process.stop, STOP_SECONDS, lambda: True)
            started[job] = process
        stack.callback(_touch, stop_files)
        yield started


def _touch(files: Sequence[Path]) -> None:
    """All jobs are asked at once, before each is waited for."""
    for file in files:
        file.touch()


def caught_up(settings: Settings, processes: Mapping[str, Process]) -> bool:
    """Whether each of the jobs has caught up once; SystemExit with its last words where one ended."""
    for job, process in processes.items():
        if process.exit_code is not None:
            raise SystemExit(f"{job} ended: {process.last_words()} (log: {process.log})")
    return all(job_metrics(settings, job).get("msm_job_ready") == 1 for job in processes)


def ranked_from_now(settings: Settings) -> Callable[[], bool]:
    """Tells whether a live job has ranked with all that its queries have read by now; its last ranking may be older."""
    ticks = checkpoints(settings) / TRENDING
    begun = begun_batch(ticks)
    return lambda: done_batch(ticks) > begun


@contextmanager
def held(settings: Settings, jobs: Sequence[str]) -> Iterator[None]:
    """Live jobs stop between two batches and wait, wherever they run, until the block is over."""
    with ExitStack() as stack:
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        _touch([settings.run_dir / f"{job}.stop" for job in jobs])
        for job in jobs:
            lock = stack.enter_context((settings.run_dir / f"{job}.lock").open("w"))
            wait_until(
                lambda job=job, lock=lock: _stopped(settings, job, lock),  # type: ignore[misc]
                STOP_SECONDS,
                lambda job=job: f"{job} does not stop: see {settings.log_dir / job}.log",  # type: ignore[misc]
            )
        yield


def _stopped(settings: Settings, job: str, lock: IO[str]) -> bool:
    """Whether the job is down and kept so by us; one that just starts forgets what it was asked before."""
    if not runs(settings, job):
        return taken(lock)
    (settings.run_dir / f"{job}.stop").touch()
    return False


def refuse_while_used(settings: Settings, what: str) -> None:
    """SystemExit with the fix where a job runs on the data dir, or `what` would be left in a rebuild beside."""
    busy = [job for job in JOBS if runs(settings, job)]
    if stack.running(settings) or busy:
        raise SystemExit(f"{', '.join(busy) or 'the stack'} still runs on {settings.data_dir}: make down, then again")
    if beside.role(settings) or beside.planned(settings):
        raise SystemExit(f"{settings.beside_dir} has {what} too: make backfill ARGS=drop, then again")

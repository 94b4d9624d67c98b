"""Jobs that a command runs for its own time, and live jobs that it makes wait."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

from conf import REPOSITORY
from conf.kafka import broker_listens
from conf.settings import Settings
from conf.store import checkpoints
from contract.topics import TRENDING_POSTS
from jobs.checkpoints import begun_batch, done_batch
from jobs.running import STACK, is_held, open_lock, stop_file, taken
from jobs.submit import job_env, spark_submit
from runtime import beside, stack
from runtime.access import ensure_access
from runtime.broker import embedded_broker, no_answer
from runtime.parts import JOBS, ask_to_stop, job_metrics, runs
from runtime.processes import Process, wait_until
from runtime.topics import ensure_topics

STOP_SECONDS = 180


@contextmanager
def a_broker(settings: Settings) -> Iterator[None]:
    """The broker that runs, else the embedded one for the time of the block; SystemExit where another's is there."""
    with ExitStack() as stack:
        if wrong := no_answer(settings):
            if not settings.embedded_kafka or broker_listens(settings.bootstrap):
                raise SystemExit(wrong)
            stack.enter_context(embedded_broker(settings))
        ensure_topics(settings)
        ensure_access(settings)
        yield


@contextmanager
def running_jobs(
    settings: Settings, jobs: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[Mapping[str, Process]]:
    """The jobs as processes of this one, with more environment; at the end they stop between two batches.

    All in batches: whoever runs them waits until they have committed, which in real time would be minutes. Each has its
    metrics at a port that is free: one that is set would be had by one of them alone.
    """
    settings = settings.counting_in_batches()
    env = {**job_env(settings), "MSM_METRICS_PORT": "0", **(env or {})}
    suffix = "-beside" if settings.beside else ""
    with ExitStack() as stack:
        started = dict[str, Process]()
        stack.callback(_stop, settings, started)
        for job in jobs:
            process = Process.start(f"{job}{suffix}", spark_submit(settings, job), settings.log_dir, env, REPOSITORY)
            started[job] = process
        yield started


def run_jobs(settings: Settings, options: Sequence[str], say: Callable[[str], None]) -> None:
    """Every job with these options of spark-submit, until one ends by itself, which is said, or is interrupted.

    The others, then, stop between two batches. Standard output has what they say, and so have their logs.
    """
    started, logs = dict[str, Process](), list[IO[bytes]]()
    with ExitStack() as stack:
        try:
            for job in JOBS:
                command = spark_submit(settings, job, *options)
                process = Process.start(job, command, settings.log_dir, job_env(settings), REPOSITORY)
                started[job] = process
                logs.append(stack.enter_context(process.log.open("rb")))
            while not (ended := [process for process in started.values() if process.exit_code is not None]):
                _pass_on(logs)
                time.sleep(0.2)
            for process in ended:
                say(f"{process.name} ended with exit code {process.exit_code}: the others stop (log: {process.log})")
        finally:
            _stop(settings, started)
            _pass_on(logs)


def _pass_on(logs: Sequence[IO[bytes]]) -> None:
    """What they say since the last time."""
    for log in logs:
        sys.stdout.buffer.write(log.read())
    sys.stdout.flush()


def _stop(settings: Settings, started: Mapping[str, Process]) -> None:
    """All are asked, between two batches, before each is waited for; what only starts just ends."""
    asked = {job for job, process in started.items() if ask_to_stop(settings, job, process)}
    with ExitStack() as stack:  # each, also where one's end is not waited for
        for job, process in started.items():
            stack.callback(process.stop, STOP_SECONDS, job in asked)


def caught_up(settings: Settings, processes: Mapping[str, Process]) -> bool:
    """Whether each of the jobs has caught up once; SystemExit with its last words where one ended."""
    for job, process in processes.items():
        if process.exit_code is not None:
            raise SystemExit(f"{job} ended: {process.last_words()} (log: {process.log})")
    return all(job_metrics(settings, job).get("msm_job_ready") == 1 for job in processes)


def ranked_from_now(settings: Settings) -> Callable[[], bool]:
    """Tells whether a live job has ranked with all that its queries have read by now; its last ranking may be older."""
    ticks = checkpoints(settings) / TRENDING_POSTS
    begun = begun_batch(ticks)
    return lambda: done_batch(ticks) > begun


@contextmanager
def held(settings: Settings, jobs: Sequence[str]) -> Iterator[None]:
    """Live jobs stop between two batches and wait, wherever they run, until the block is over."""
    with ExitStack() as stack:
        locks = {job: stack.enter_context(open_lock(settings.run_dir, job)) for job in jobs}
        for job in jobs:  # all of them, before each is waited for
            stop_file(settings.run_dir, job).touch()
        for job, lock in locks.items():
            _wait_until_stopped(settings, job, lock)
        yield


def _wait_until_stopped(settings: Settings, job: str, lock: IO[str]) -> None:
    log = settings.log_dir / f"{job}.log"
    wait_until(lambda: _stopped(settings, job, lock), STOP_SECONDS, lambda: f"{job} does not stop: see {log}")


def _stopped(settings: Settings, job: str, lock: IO[str]) -> bool:
    """Whether the job is down and kept so by us; one that just starts forgets what it was asked before."""
    if not runs(settings, job):
        return taken(lock)
    stop_file(settings.run_dir, job).touch()
    return False


@contextmanager
def only_command(settings: Settings) -> Iterator[None]:
    """SystemExit where another of the commands that change checkpoints and tables is at work."""
    with open_lock(settings.run_dir, stack.COMMAND) as lock:
        if not taken(lock):
            raise SystemExit(stack.AT_WORK.format(settings.data_dir))
        yield


@contextmanager
def alone(settings: Settings, what: str) -> Iterator[None]:
    """No stack and no other command starts meanwhile; SystemExit with the fix where something runs already."""
    with only_command(settings), open_lock(settings.run_dir, STACK) as lock:
        refuse_while_used(settings, what)
        if not taken(lock):
            raise SystemExit(f"a stack just starts or ends on {settings.data_dir}: make down, then again")
        yield


def refuse_while_used(settings: Settings, what: str) -> None:
    """SystemExit with the fix where a job runs on the data dir, or just starts, or `what` would stay in a rebuild."""
    busy = [job for job in JOBS if is_held(settings.run_dir, job)]
    if stack.running(settings) or busy:
        raise SystemExit(f"{', '.join(busy) or 'the stack'} still runs on {settings.data_dir}: make down, then again")
    if beside.role(settings) or beside.planned(settings):
        raise SystemExit(f"{settings.beside_dir} has {what} too: make backfill ARGS=drop, then again")

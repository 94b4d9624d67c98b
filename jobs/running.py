"""What runs on a data dir. A job runs once, and not while `msm backfill` or `msm forget` changes what it stands on.

In the run folder each process has up to three files: a lock that it holds, where it is (JSON), and that it must stop.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import structlog
from prometheus_client import start_http_server

from conf.settings import Settings
from conf.store import read_whole, write_whole

log = structlog.get_logger()
STACK = "stack"
"""The supervisor's name in the run folder."""
SWITCH, FORGET = "switch.json", "forget.json"
FORGETTING = "FORGETTING"
"""In the environment of the jobs that `msm forget` itself runs: whom it forgets. No setting, so no MSM_ before it."""


def state_file(run_dir: Path, name: str) -> Path:
    """Where a process that runs says where it is."""
    return run_dir / f"{name}.json"


def stop_file(run_dir: Path, name: str) -> Path:
    """While it is there a job stops, between two batches."""
    return run_dir / f"{name}.stop"


def lock_file(run_dir: Path, name: str) -> Path:
    """What a process holds for as long as it lives."""
    return run_dir / f"{name}.lock"


def announce(settings: Settings, name: str) -> None:
    """Say where this process is: its pid, and the port Prometheus finds it on; SystemExit where that cannot be had."""
    try:
        server, _ = start_http_server(settings.metrics_port, addr=settings.metrics_host)
    except OSError as error:
        raise SystemExit(
            f"metrics cannot be had at {settings.metrics_host}:{settings.metrics_port} ({error}): set MSM_METRICS_PORT "
            "to a free port, or unset it, and MSM_METRICS_HOST to an address of this machine"
        ) from None
    write_whole(state_file(settings.run_dir, name), {"pid": os.getpid(), "metrics_port": server.server_port})


def read_state(run_dir: Path, name: str) -> dict[str, Any]:
    """What it says there; nothing where it never ran, or stopped."""
    try:
        state: dict[str, Any] = json.loads(state_file(run_dir, name).read_text())
    except (OSError, ValueError):
        return {}
    return state


@contextmanager
def open_lock(run_dir: Path, name: str) -> Iterator[IO[str]]:
    """To take; what is taken ends with the block, and with the process, however that ends."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with lock_file(run_dir, name).open("w") as lock:
        yield lock


@contextmanager
def only_one(run_dir: Path, job: str) -> Iterator[None]:
    """Hold the job's lock, waiting for whoever has it."""
    with open_lock(run_dir, job) as lock:
        if not taken(lock):
            log.info("waits for whoever runs this job or changes its checkpoint", job=job, lock=lock.name)
            sys.stdout.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def taken(lock: IO[str]) -> bool:
    """Whether the lock is ours now; false where somebody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def refuse_unfinished_switch(beside_dir: Path, role: str = "") -> None:
    """SystemExit with the fix where a switch was interrupted, unless it made live what stood there in that role.

    Checkpoints and topics may not belong together.
    """
    plan = read_whole(beside_dir / SWITCH)
    if plan and plan["role"] != role:
        command = "rollback" if plan["role"] == "before" else "switch"
        raise SystemExit(f"a switch was interrupted half-way: finish it with make backfill ARGS={command}")


def is_held(run_dir: Path, name: str) -> bool:
    """Whether somebody has that lock."""
    try:
        with lock_file(run_dir, name).open("r+") as lock:  # NFS locks what can be written only
            return not taken(lock)
    except FileNotFoundError:
        return False


def refuse_unfinished_forget(data_dir: Path, user: str = "") -> None:
    """SystemExit with the fix where `msm forget --facts` was interrupted, unless it is that user who is forgotten."""
    begun = read_whole(data_dir / FORGET)
    if begun and begun["user"] != user:
        raise SystemExit(
            f"msm forget {begun['user']} --facts was interrupted half-way: run it again, until then numbers are wrong"
        )

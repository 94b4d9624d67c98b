"""A job runs once, and not while `msm backfill` or `msm forget` changes what it stands on."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import structlog

log = structlog.get_logger()
SWITCH = "switch.json"


@contextmanager
def only_one(run_dir: Path, job: str) -> Iterator[None]:
    """Hold the job's lock, waiting for whoever has it; it ends with the process, however that ends."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / f"{job}.lock").open("w") as lock:
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


def refuse_unfinished_switch(beside_dir: Path) -> None:
    """SystemExit with the fix where a switch was interrupted: checkpoints and topics may not belong together."""
    if (beside_dir / SWITCH).exists():
        raise SystemExit("a switch was interrupted half-way: finish it with make backfill ARGS=switch")

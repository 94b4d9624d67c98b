"""Processes that are killed, ended or paused."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil

from chaos.fault import Done, Inflict, NotReachedError
from chaos.ground import DEATH_SECONDS, Ground
from chaos.points import POINTS, Watch
from conf import REPOSITORY
from runtime import stack
from runtime.processes import wait_until

TRIES = 3
POINT_SECONDS = 120
PAUSE_SECONDS = 20
NOTHING_RUNS = 3
"""Exit code of `msm status`."""


def kill_at_random(part: str) -> Inflict:
    def inflict(ground: Ground) -> Done:
        delay = ground.rng.uniform(0, 6)
        time.sleep(delay)
        ground.kill(part)
        return Done(f"SIGKILL to {part} after {delay:.2f} s")

    return inflict


def kill_at(name: str) -> Inflict:
    point = POINTS[name]

    def inflict(ground: Ground) -> Done:
        for number in range(1, TRIES + 1):
            process, restarts = psutil.Process(ground.pid(point.part)), ground.restarts(point.part)
            struck = Watch(ground.settings.data_dir, point).strike(partial(_kill, process), POINT_SECONDS)
            if struck is None:
                continue
            ground.wait_for_death(point.part, restarts)
            if struck.undone:
                return Done(f"SIGKILL to {point.part} in batch {struck.batch} of {point.query}, try {number}")
            ground.wait_until_well()
        raise NotReachedError(f"not hit in {TRIES} tries of {POINT_SECONDS} s")

    return inflict


def _kill(process: psutil.Process) -> None:
    """Return when it is dead: it may commit until then."""
    process.kill()
    process.wait(DEATH_SECONDS)


def kill_supervisor(ground: Ground) -> Done:
    os.kill(ground.state()["pid"], signal.SIGKILL)
    wait_until(lambda: stack.running(ground.settings) is None, 10, lambda: "the supervisor outlives SIGKILL")
    line = [sys.executable, "-m", "runtime.cli", "status"]
    status = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    if status.returncode != NOTHING_RUNS:
        raise TimeoutError(f"make status does not see that nothing runs: {status.stdout}")
    return Done("SIGKILL to the supervisor", " ".join(status.stdout.split()), ground.start)


def restart_broker(ground: Ground) -> Done:
    restarts = ground.restarts("broker")
    os.kill(ground.pid("broker"), signal.SIGTERM)
    ground.wait_for_death("broker", restarts, 60)
    return Done("SIGTERM to the broker; the supervisor started it again")


def pause(part: str) -> Inflict:
    def inflict(ground: Ground) -> Done:
        with ground.stopped(part):
            time.sleep(PAUSE_SECONDS)
        return Done(f"{part} stood still for {PAUSE_SECONDS} s")

    return inflict

"""What is done to a stack. Each fault says what it did, and leaves the stack to heal."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil

from chaos import clock, traffic
from chaos.ground import DEATH_SECONDS, Ground
from chaos.points import POINTS, Watch, newest
from runtime import stack
from runtime.broker import REPOSITORY
from runtime.parts import JOBS
from runtime.processes import wait_until

TRIES = 3
POINT_SECONDS = 40
PAUSE_SECONDS = 20
FULL_SECONDS = 90
NOTHING_RUNS = 3
"""Exit code of `msm status`."""


class NotReachedError(Exception):
    """A named point was not hit, so that nothing is known of it."""


class SkippedError(Exception):
    """The fault cannot be inflicted here."""


@dataclass(frozen=True)
class Done:
    """What was done; and `sentence`, what a person was told to do about it, which `remedy` does."""

    what: str
    sentence: str = ""
    remedy: Callable[[], None] | None = None


Inflict = Callable[[Ground], Done]


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
        pids = ground.pids(part)
        _signal(pids, signal.SIGSTOP)
        try:
            time.sleep(PAUSE_SECONDS)
        finally:
            _signal(pids, signal.SIGCONT)
        return Done(f"{part} stood still for {PAUSE_SECONDS} s")

    return inflict


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, number)


def redeliver(ground: Ground) -> Done:
    number = traffic.send_again(ground.settings, ground.rng)
    return Done(f"{number:,} records sent again, in another order across all partitions")


def month_late(ground: Ground) -> Done:
    options = ("--rate", "0", "--facts", "2000", "--since", "720", "--seed", str(ground.rng.randrange(1 << 30)))
    line = [sys.executable, "-m", "producers.simulator", *options]
    subprocess.run(line, check=True, cwd=REPOSITORY, capture_output=True, timeout=120)
    return Done("2,000 facts dated over the past month")


def clock_back(ground: Ground) -> Done:
    job = "trending_posts"
    if not clock.can_be_set():
        raise SkippedError("libfaketime is not installed: apt-get install faketime")
    with clock.set_back(ground.settings):
        ground.kill(job)
        ground.wait_until_well()
        behind = clock.hours_behind(ground.settings)
    if not 0.9 < behind < 1.1:
        raise NotReachedError(f"the clock of {job} was {behind:.1f} hours behind, not one")
    ground.kill(job)
    return Done(f"{job} ran with its clock an hour back, ranked by it, and then with the right one")


def fill_disk(name: str, parts: tuple[str, ...]) -> Inflict:
    """Full until a part has said so; what it says is what a person has to do."""

    def inflict(ground: Ground) -> Done:
        disk = ground.disks.get(name)
        if disk is None:
            raise SkippedError("a small disk can be mounted by root only, and only where mounting is allowed")
        restarts = {part: ground.restarts(part) for part in parts}
        disk.fill()

        def sentence() -> str:
            died = [part for part in parts if ground.restarts(part) > restarts[part]]
            said = [ground.told(part) for part in died]
            return next((line for line in said if "free some space" in line), "")

        try:
            wait_until(lambda: bool(sentence()), FULL_SECONDS, lambda: "no part says that the disk is full")
            return Done(f"no room under {name}/ until a part had said so", sentence(), disk.free)
        except TimeoutError:
            disk.free()
            raise

    return inflict


def damage(query: str, part: str, file: str, how: str) -> Inflict:
    """A job is killed, and the newest file of its checkpoint is cut in half, or removed, before it starts again."""

    def inflict(ground: Ground) -> Done:
        ground.kill(part)
        checkpoint = ground.settings.checkpoint_dir / query
        path = checkpoint / file / str(newest(checkpoint / file))
        if file == "state":
            path = max((checkpoint / "state/0").glob("*/[0-9]*.changelog"), key=lambda one: one.stat().st_mtime)
        if how == "removed":
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size // 2)
        what = f"{path.relative_to(ground.settings.data_dir)} {how}, {part} killed"
        restarts = ground.restarts(part)
        if _heals(ground, part, restarts):
            return Done(what)
        sentence = ground.told(part)
        if not sentence:
            raise TimeoutError(f"{what}: {part} does not say what to do")
        return Done(what, sentence, lambda: start_over(ground, query, part))

    return inflict


def _heals(ground: Ground, part: str, restarts: int) -> bool:
    """Whether the part comes up; no where it dies twice more."""
    wait_until(
        lambda: part not in ground.unready() or ground.restarts(part) > restarts + 1,
        180,
        lambda: f"{part} neither comes up nor dies",
    )
    return ground.restarts(part) <= restarts + 1


def start_over(ground: Ground, query: str, part: str) -> None:
    """What docs/operations.md says of a checkpoint that is lost, while the job is dead: counts are made anew."""
    ground.kill(part)
    shutil.rmtree(ground.settings.checkpoint_dir / query)


def lose_feed_stores(ground: Ground) -> Done:
    for path in ground.settings.feeds_dir.iterdir():
        path.unlink()
    ground.kill("web")
    return Done("the feed stores were deleted under the running web, which was killed then")


def cut_feed_stores(ground: Ground) -> Done:
    cut = [path for path in ground.settings.feeds_dir.iterdir() if path.stat().st_size > 0]
    for path in cut:
        os.truncate(path, path.stat().st_size // 2)
    time.sleep(5)
    return Done(f"{len(cut)} files of the feed stores were cut in half under the running web")


FAULTS: dict[str, Inflict] = {
    **{f"kill {part}": kill_at_random(part) for part in ("broker", "web", *JOBS)},
    "kill the supervisor": kill_supervisor,
    **{f"kill {point}": kill_at(point) for point in POINTS},
    "restart broker": restart_broker,
    **{f"pause {part}": pause(part) for part in ("broker", "web", "posts_with_counts")},
    "redeliver": redeliver,
    "a month late": month_late,
    "clock back": clock_back,
    "full disk: checkpoints": fill_disk("checkpoints", JOBS),
    "full disk: lake": fill_disk("lake", ("archive", "trending_posts")),
    "full disk: kafka": fill_disk("kafka", ("broker",)),
    "torn offsets": damage("posts_with_counts", "posts_with_counts", "offsets", "torn"),
    "torn commit": damage("posts_with_counts", "posts_with_counts", "commits", "torn"),
    "torn state": damage("posts_with_counts", "posts_with_counts", "state", "torn"),
    "missing state": damage("posts_with_counts", "posts_with_counts", "state", "removed"),
    "feed stores deleted": lose_feed_stores,
    "feed stores cut": cut_feed_stores,
}

"""Disks that are full, and files that are cut or gone."""

import os
import shutil
import time
from pathlib import Path

from chaos.fault import Done, Inflict, SkippedError
from chaos.ground import Ground
from contract.topics import POSTS_WITH_COUNTS
from jobs.checkpoints import done_batch, newest_in
from runtime.processes import wait_until

FULL_SECONDS = 90


def fill_disk(name: str, parts: tuple[str, ...]) -> Inflict:
    """Full until a part has said so; what it says is what a person has to do."""

    def inflict(ground: Ground) -> Done:
        disk = ground.disks.get(name)
        if disk is None:
            raise SkippedError(
                "small disks can be mounted by root only, where mounting is allowed, in a fresh data dir"
            )
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


def damage(file: str, how: str) -> Inflict:
    """The counts job is killed, and the newest file of its checkpoint is cut in half, or removed, before it is back."""

    def inflict(ground: Ground) -> Done:
        ground.kill(POSTS_WITH_COUNTS)
        path = newest_file(ground.settings.checkpoint_dir / POSTS_WITH_COUNTS, file)
        if how == "removed":
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size // 2)
        what = f"{path.relative_to(ground.settings.data_dir)} {how}, {POSTS_WITH_COUNTS} killed"
        if _heals(ground):
            return Done(what)
        sentence = ground.told(POSTS_WITH_COUNTS)
        if not sentence:
            raise TimeoutError(f"{what}: {POSTS_WITH_COUNTS} does not say what to do")
        return Done(what, sentence, lambda: start_over(ground))

    return inflict


def newest_file(checkpoint: Path, file: str) -> Path:
    """What the next start reads; of state that is what the last batch that was done has left."""
    if file == "state":
        version = done_batch(checkpoint) + 1
        return max((checkpoint / "state/0").glob(f"*/{version}_*.changelog"), key=lambda one: one.stat().st_mtime)
    return checkpoint / file / str(newest_in(checkpoint / file))


def _heals(ground: Ground) -> bool:
    """Whether the job comes up; no where it dies twice more."""
    restarts = ground.restarts(POSTS_WITH_COUNTS)
    wait_until(
        lambda: POSTS_WITH_COUNTS not in ground.unready() or ground.restarts(POSTS_WITH_COUNTS) > restarts + 1,
        180,
        lambda: f"{POSTS_WITH_COUNTS} neither comes up nor dies",
    )
    return ground.restarts(POSTS_WITH_COUNTS) <= restarts + 1


def start_over(ground: Ground) -> None:
    """What docs/operations.md says of a checkpoint that is lost, while the job is dead: all is counted anew."""
    ground.kill(POSTS_WITH_COUNTS)
    shutil.rmtree(ground.settings.checkpoint_dir / POSTS_WITH_COUNTS)


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

"""All faults by name, and those that come with what is written or with the clock."""

import subprocess
import sys

from chaos import clock, traffic
from chaos.fault import Done, Inflict, NotReachedError, SkippedError
from chaos.files import cut_feed_stores, damage, fill_disk, lose_feed_stores
from chaos.ground import Ground
from chaos.kills import kill_at, kill_at_random, kill_supervisor, pause, restart_broker
from chaos.points import POINTS
from conf import REPOSITORY
from runtime.parts import JOBS


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
    "torn offsets": damage("offsets", "torn"),
    "torn commit": damage("commits", "torn"),
    "torn state": damage("state", "torn"),
    "missing state": damage("state", "removed"),
    "feed stores deleted": lose_feed_stores,
    "feed stores cut": cut_feed_stores,
}

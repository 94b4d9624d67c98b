"""When facts happen: a Poisson stream whose rate swings and bursts."""

import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta

BURST_EVERY_SECONDS = 90.0
BURST_SECONDS = 8.0
BURST_FACTOR = 3.0
SWING_SECONDS = 60.0


def arrivals(seed: int, start: datetime, rate: float) -> Iterator[datetime]:
    """Endless moments, `rate` of them a second on average."""
    rng, seconds, burst_from = random.Random(f"arrivals {seed}"), 0.0, BURST_EVERY_SECONDS / 3
    while True:
        if seconds > burst_from + BURST_SECONDS:
            burst_from = seconds + rng.expovariate(1 / BURST_EVERY_SECONDS)
        busy = BURST_FACTOR if seconds >= burst_from else 1 + 0.3 * math.sin(seconds / SWING_SECONDS * math.tau)
        seconds += rng.expovariate(rate * busy / _MEAN)
        yield start + timedelta(seconds=seconds)


# A burst takes its share of the time, and is that much busier.
_BURST_SHARE = BURST_SECONDS / (BURST_SECONDS + BURST_EVERY_SECONDS)
_MEAN = 1 + _BURST_SHARE * (BURST_FACTOR - 1)


def spread(since: datetime, until: datetime, count: int) -> Iterator[datetime]:
    """So many moments, evenly over the time between; for a backfill."""
    step = (until - since) / max(count, 1)
    return (since + step * number for number in range(count))

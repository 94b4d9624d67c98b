"""An even pace."""

import time
from collections.abc import Iterator


def paced(rate: float, seconds: float) -> Iterator[int]:
    """Numbers from 0 on, so many a second, until the time is over; late ones come at once, the last ones not at all.

    Not even a `sleep(0)` for those: it hands the interpreter to the producer's thread, which keeps it for milliseconds.
    """
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        early = began + number / rate - time.monotonic()
        if early > 0:
            time.sleep(early)
        elif -early > seconds - number / rate:
            return
        yield number

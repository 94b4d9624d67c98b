"""What the machine can do at this moment: the least that any job here must do. Everything else is set against it."""

import time
from collections.abc import Sequence

from bench.catch_up import Job, as_measures, until_caught_up
from bench.measures import Measure
from bench.place import Place
from contract.facts import FACT_TOPICS
from jobs.submit import spark_submit

FLOOR = Job("floor", {"floor": FACT_TOPICS})


def floor(place: Place) -> Sequence[Measure]:
    """Consume and parse what the topics hold, as `catch_up` does a job."""
    *submit, _ = spark_submit(place.settings, FLOOR.name)
    began = time.monotonic()
    with place.running_other(FLOOR.name, (*submit, "bench/floor_job.py")) as process:
        return as_measures(FLOOR.name, until_caught_up(place.settings, FLOOR, process, began))

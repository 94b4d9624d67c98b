"""What the machine can do at this moment: the least that any job here must do. Everything else is set against it."""

import time
from collections.abc import Iterable, Sequence

from bench.catch_up import Job, as_measures, until_caught_up
from bench.measures import Measure
from bench.place import Place
from contract.facts import FACT_TOPICS
from jobs.submit import spark_submit

FLOOR = "floor"


def floor(place: Place) -> Sequence[Measure]:
    """Consume and parse what the topics hold, as `catch_up` does a job."""
    return _stage(place, "parse", FLOOR)


def limits(place: Place) -> Iterable[Measure]:
    """The floor without its parsing, and with the least state that there is."""
    yield from _stage(place, "read", "limit.read")
    yield from _stage(place, "state", "limit.state")


def _stage(place: Place, stage: str, name: str) -> Sequence[Measure]:
    job = Job(f"floor_{stage}", {f"floor_{stage}": FACT_TOPICS})
    *submit, _ = spark_submit(place.settings, job.name)
    began = time.monotonic()
    with place.running_other(job.name, (*submit, "bench/floor_job.py", stage)) as process:
        return as_measures(name, until_caught_up(place.settings, job, process, began))

"""A broker for each test that wants one, and commands whose jobs are queries of the test's session."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from jobs import archive
from runtime import backfill, forget, rescale
from tests.brokers import running_broker
from tests.rebuild.earlier_checkpoint import PARTITIONS
from tests.rebuild.queries import have_read_all, running


@pytest.fixture
def commands(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `msm backfill`, `forget` and `rescale` would start for themselves runs in the test's session.

    Jobs have caught up when they are asked for the second time; forget itself looks how far they have read.
    """
    is_asked_again = cycle([False, True])
    monkeypatch.setattr(backfill, "caught_up", lambda *jobs: next(is_asked_again) and have_read_all(*jobs))
    monkeypatch.setattr(forget, "caught_up", lambda *_: next(is_asked_again))
    for module in (backfill, forget):
        monkeypatch.setattr(module, "running_jobs", partial(running, spark))
    for module in (backfill, forget, rescale):
        monkeypatch.setattr(module, "batch_session", lambda _: nullcontext(spark.newSession()))


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Its settings. Many tests wait for a ranking, or for the archive: there is a batch each second."""
    monkeypatch.setattr(archive, "EVERY", "1 second")
    with running_broker(tmp_path, shuffle_partitions=PARTITIONS, rank_every_seconds=1) as settings:
        yield settings

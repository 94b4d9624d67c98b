"""A broker for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.settings import Settings
from tests.brokers import running_broker
from tests.rebuild.earlier_checkpoint import PARTITIONS


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Settings]:
    """Its settings. Many tests wait for a ranking, so there is one each second."""
    with running_broker(tmp_path, shuffle_partitions=PARTITIONS, rank_every_seconds=1) as settings:
        yield settings

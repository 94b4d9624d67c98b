"""A fresh stand-in for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.website.running import running
from tests.website.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def stand_in(tmp_path: Path, world: World) -> Iterator[str]:
    with running(tmp_path, world) as address:
        yield address

"""A fresh stand-in for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conf.settings import Settings
from tests.feeds.serving import served
from tests.website.stand_in import create_app
from tests.website.world import World


@contextmanager
def running(folder: Path, world: World, port: int = 0, demo: bool = True) -> Iterator[str]:
    """The stand-in's address, for as long as the block lasts."""
    settings = Settings(data_dir=folder, demo=demo, auth_secret="s" * 32)
    with served(create_app(settings, world), port) as address:
        try:
            yield address
        finally:
            world.closing = True  # its streams end


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def stand_in(tmp_path: Path, world: World) -> Iterator[str]:
    with running(tmp_path, world) as address:
        yield address

"""One browser for the session, a fresh window and a fresh stand-in for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.website.browser import Tabs, chromium, window
from tests.website.running import running
from tests.website.world import World


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def tabs(browser: Browser) -> Iterator[Tabs]:
    with window(browser, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def stand_in(tmp_path: Path, world: World) -> Iterator[str]:
    with running(tmp_path, world) as address:
        yield address

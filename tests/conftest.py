"""Which tests run side by side, and their browser. `make test` starts a worker for every two cores, none for two."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser
from xdist.scheduler import LoadScopeScheduling

from tests.website.browser import Tabs, chromium, window

STACKS = ("bench", "chaos", "cluster", "notebooks", "stack", "website")
"""Folders that start a whole stack, or several brokers: one after the other."""


class ByFolder(LoadScopeScheduling):
    """The tests of a folder stay together, since they share what they start."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return "stacks" if folder in STACKS else folder


def pytest_xdist_auto_num_workers() -> int:
    workers = len(os.sched_getaffinity(0)) // 2
    return workers if workers > 1 else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    return ByFolder(config, log)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests of a page."""
    with chromium() as started:
        yield started


@pytest.fixture
def tabs(browser: Browser) -> Iterator[Tabs]:
    """A fresh window."""
    with window(browser, viewport={"width": 1280, "height": 900}) as opened:
        yield opened

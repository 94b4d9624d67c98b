"""The page against the real stack, in headless Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.stack.conftest import Stack
from tests.website.browser import Tabs, chromium, window
from tests.website.scenarios import ALL, Scenario

pytestmark = [pytest.mark.stack, pytest.mark.browser]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def tabs(browser: Browser) -> Iterator[Tabs]:
    with window(browser, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.__name__)
def test_scenario(scenario: Scenario, tabs: Tabs, stack: Stack) -> None:
    scenario(tabs, stack.url)

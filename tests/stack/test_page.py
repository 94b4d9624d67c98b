"""The page against the real stack, in headless Chromium."""

import pytest

from tests.stack.conftest import Stack
from tests.website.browser import Tabs
from tests.website.scenarios import ALL, Scenario

pytestmark = [pytest.mark.stack, pytest.mark.browser]


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.__name__)
def test_scenario(scenario: Scenario, tabs: Tabs, stack: Stack) -> None:
    scenario(tabs, stack.url)

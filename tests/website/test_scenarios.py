"""Every scenario against the stand-in. The whole stack's tests run the same against the real thing."""

import pytest

from tests.website.browser import Tabs
from tests.website.scenarios import ALL, Scenario

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.__name__)
def test_scenario(scenario: Scenario, tabs: Tabs, stand_in: str) -> None:
    scenario(tabs, stand_in)

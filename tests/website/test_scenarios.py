"""The stand-in is like the real thing, as far as the tests of the page need it: tests/stack runs every scenario."""

import pytest

from tests.website import scenarios
from tests.website.browser import Tabs

pytestmark = pytest.mark.browser
LIKENESS = (
    scenarios.likes_of_two_users_are_seen_by_both,
    scenarios.a_comment_is_counted_until_its_author_deletes_it,
    scenarios.an_engaged_post_is_ranked_and_opens_from_there,
)


@pytest.mark.parametrize("scenario", LIKENESS, ids=lambda scenario: scenario.__name__)
def test_scenario(scenario: scenarios.Scenario, tabs: Tabs, stand_in: str) -> None:
    scenario(tabs, stand_in)

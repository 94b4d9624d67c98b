"""What the page shows when answers and the stream cross, and when changes are not told one by one."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.website.browser import Tabs, hold, hold_answers, is_held
from tests.website.scenarios import add_comment, card_with, delete, open_as, shows
from tests.website.test_live import a_post, to_the_end
from tests.website.world import World

pytestmark = pytest.mark.browser


def some_posts(world: World, count: int) -> list[str]:
    """The ids of "number 0.", the oldest, and so on."""
    return [a_post(world, f"number {number}.", minutes_ago=count - number) for number in range(count)]


def changes_silently(world: World, post_id: str, likes: int) -> None:
    """No stream tells it."""
    post = world.published[post_id]
    world.published[post_id] = {**post, "likes": likes, "version": post["version"] + 1}


def tell(page: Page, world: World, post_id: str, *, anew: bool = False) -> None:
    """Waits until the page was told what has happened, and lastly a like of this post; `anew`: and to begin anew."""
    likes = world.likes_of(post_id)
    if anew:
        world.log.append(("reset", world.page(20, None)))
    world.like(f"user{likes}", post_id, True)
    shows(page.locator(f"#posts [data-post-id='{post_id}']"), likes=likes + 1)


def is_at(card: Locator) -> float:
    """Where on the screen its upper edge is."""
    return float(card.evaluate("card => card.getBoundingClientRect().top"))


def test_a_page_on_its_way_takes_nothing_back(tabs: Tabs, stand_in: str, world: World) -> None:
    everything = some_posts(world, 30)
    page = open_as(tabs, stand_in, "grace")
    held = hold_answers(page, "**/feed?*before=*")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    is_held(page, held)
    world.like("linus", everything[3], True)
    tell(page, world, everything[-1])
    held[0]()
    shows(card_with(page, "number 3."), likes=1)


def test_a_post_that_is_opened_is_as_new_as_the_stream(tabs: Tabs, stand_in: str, world: World) -> None:
    everything = some_posts(world, 30)
    world.like("linus", everything[3], True)
    page = open_as(tabs, stand_in, "grace")
    held = hold_answers(page, f"**/posts/{everything[3]}")
    page.get_by_test_id("trending").get_by_role("button").first.click()
    is_held(page, held)
    world.like("alan", everything[3], True)
    tell(page, world, everything[-1])
    held[0]()
    shows(page.locator("#post-dialog [data-post-id]"), likes=2)


def test_a_post_that_is_gone_before_it_opens_is_not_shown(tabs: Tabs, stand_in: str, world: World) -> None:
    everything = some_posts(world, 3)
    world.like("linus", everything[1], True)
    page = open_as(tabs, stand_in, "grace")
    held = hold_answers(page, f"**/posts/{everything[1]}")
    page.get_by_test_id("trending").get_by_role("button").first.click()
    is_held(page, held)
    world.delete_post("ada", everything[1])
    tell(page, world, everything[-1])
    held[0]()
    expect(page.get_by_text("This post is not there any more.")).to_be_visible()
    expect(page.locator("#post-dialog")).to_be_hidden()


def test_a_post_whose_deletion_failed_shows_what_it_got_meanwhile(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    everything = some_posts(world, 3)
    page = open_as(tabs, stand_in, "ada")
    held = hold(page, "**/posts/*", "DELETE")
    delete(page, card_with(page, "number 1."))
    is_held(page, held)
    world.like("linus", everything[1], True)
    tell(page, world, everything[-1])
    held[0].fulfill(status=429, json={"detail": "too many commands"})
    shows(card_with(page, "number 1."), likes=1)


def test_a_post_whose_deletion_failed_comes_back_far_below(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    some_posts(world, 220)
    page = open_as(tabs, stand_in, "ada")
    to_the_end(page)
    card, here = card_with(page, "number 3."), card_with(page, "number 2.")
    held = hold(page, "**/posts/*", "DELETE")
    delete(page, card)
    is_held(page, held)
    here.evaluate("(card) => scrollTo(0, card.getBoundingClientRect().top + scrollY)")
    place = is_at(here)
    held[0].fulfill(status=429, json={"detail": "too many commands"})
    expect(page.get_by_text("The post is still there.")).to_be_visible()
    expect(card).to_be_attached()
    assert is_at(here) == pytest.approx(place, abs=2)


def test_a_page_on_its_way_is_asked_for_again_after_a_new_beginning(tabs: Tabs, stand_in: str, world: World) -> None:
    everything = some_posts(world, 30)
    page = open_as(tabs, stand_in, "grace")
    held = hold_answers(page, "**/feed?*before=*")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    is_held(page, held)
    changes_silently(world, everything[3], likes=7)
    tell(page, world, everything[-1], anew=True)
    held[0]()
    is_held(page, held, 2)
    held[1]()
    shows(card_with(page, "number 3."), likes=7)


def a_written_card(tabs: Tabs, stand_in: str) -> Locator:
    """Of post number 1, with half a comment."""
    card = card_with(open_as(tabs, stand_in, "grace"), "number 1.")
    card.get_by_test_id("comment-text").fill("half a")
    return card


def test_a_written_card_that_no_page_brings_is_asked_for_until_there_is_an_answer(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    tabs.allow("503")
    everything = some_posts(world, 3)
    card = a_written_card(tabs, stand_in)
    page = card.page
    asked = hold(page, f"**/posts/{everything[1]}", "GET")
    for number in range(20):
        world.published.update(silent_post(world, number))
    changes_silently(world, everything[1], likes=7)
    page.evaluate("scrollTo(0, 0)")
    tell(page, world, "silent-19", anew=True)
    is_held(page, asked)
    asked[0].fulfill(status=503, json={"detail": "busy"})
    is_held(page, asked, 2)
    asked[1].continue_()
    shows(card, likes=7)
    expect(card.get_by_test_id("comment-text")).to_have_value("half a")


def silent_post(world: World, number: int) -> dict[str, dict[str, object]]:
    """A new post that no stream tells."""
    like_this = next(iter(world.published.values()))
    created_at = f"2099-11-20T14:00:{number:02}.000Z"
    post_id = f"silent-{number:02}"
    return {post_id: {**like_this, "post_id": post_id, "caption": f"silent {number}.", "created_at": created_at}}


def test_a_written_card_whose_post_is_gone_leaves_after_a_new_beginning(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    tabs.allow("404")
    everything = some_posts(world, 3)
    card = a_written_card(tabs, stand_in)
    page = card.page
    del world.published[everything[1]]
    tell(page, world, everything[-1], anew=True)
    expect(card).to_have_count(0)


def test_a_post_that_is_open_is_asked_for_after_a_new_beginning(tabs: Tabs, stand_in: str, world: World) -> None:
    everything = some_posts(world, 30)
    world.like("linus", everything[3], True)
    page = open_as(tabs, stand_in, "grace")
    page.get_by_test_id("trending").get_by_role("button").first.click()
    opened = page.locator("#post-dialog [data-post-id]")
    shows(opened, likes=1)
    changes_silently(world, everything[3], likes=7)
    tell(page, world, everything[-1], anew=True)
    shows(opened, likes=7)


def test_a_new_beginning_leaves_a_reader_where_they_are(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("404")
    everything = some_posts(world, 60)
    page = open_as(tabs, stand_in, "grace")
    to_the_end(page)
    cards, here = page.locator("#posts [data-post-id]"), card_with(page, "number 22.")
    here.scroll_into_view_if_needed()
    expect(cards).to_have_count(60)
    place = is_at(here)
    changes_silently(world, everything[25], likes=7)
    changes_silently(world, everything[22], likes=8)
    del world.published[everything[21]]
    tell(page, world, everything[-1], anew=True)
    shows(card_with(page, "number 25."), likes=7)
    shows(here, likes=8)
    expect(card_with(page, "number 21.")).to_have_count(0)
    expect(cards).to_have_count(59)
    assert is_at(here) == pytest.approx(place, abs=2)


def test_after_a_long_absence_the_newest_posts_are_offered(tabs: Tabs, stand_in: str, world: World) -> None:
    some_posts(world, 60)
    page = open_as(tabs, stand_in, "grace")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    here = card_with(page, "number 22.")
    here.scroll_into_view_if_needed()
    for number in range(25):
        world.published.update(silent_post(world, number))
    world.log.append(("reset", world.page(20, None)))
    expect(page.get_by_test_id("new-posts")).to_have_text("Newest posts")
    expect(here).to_be_in_viewport()
    page.get_by_test_id("new-posts").evaluate("pill => pill.click()")
    expect(card_with(page, "silent 24.")).to_be_in_viewport()


def test_a_comment_that_fails_after_a_new_beginning_is_not_lost(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("503")
    some_posts(world, 3)
    page = open_as(tabs, stand_in, "grace")
    held = hold(page, "**/comments", "POST")
    card = card_with(page, "number 1.")
    add_comment(card, "Do not lose this")
    is_held(page, held)
    for number in range(20):
        world.published.update(silent_post(world, number))
    page.evaluate("scrollTo(0, 0)")
    tell(page, world, "silent-19", anew=True)
    held[0].fulfill(status=503, json={"detail": "no"})
    expect(card.get_by_test_id("comment-text")).to_have_value("Do not lose this")

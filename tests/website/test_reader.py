"""What somebody is reading, writing or about to press stays where it is."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.website.browser import Tabs, hold, is_held
from tests.website.scenarios import add_comment, card_with, choose_picture, open_as, shows
from tests.website.test_in_flight import is_at, some_posts
from tests.website.test_live import a_post, to_the_end
from tests.website.world import World

pytestmark = pytest.mark.browser


def opened_from_the_ranking(page: Page) -> None:
    page.get_by_test_id("trending").get_by_role("button").first.click()
    expect(page.locator("#post-dialog [data-post-id]")).to_be_visible()


def test_a_message_is_read_and_answered_in_front_of_an_open_post(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    world.like("linus", a_post(world, "opened"), True)
    page = open_as(tabs, stand_in, "grace")
    opened_from_the_ranking(page)
    card = page.locator("#post-dialog [data-post-id]")
    page.route("**/like", lambda route: route.fulfill(status=429, json={"detail": "too many commands"}))
    card.get_by_test_id("like").click()
    expect(page.get_by_text("Not liked.")).to_be_visible()
    page.unroute("**/like")
    page.get_by_role("button", name="Retry").click()
    shows(card, likes=2)


def test_a_message_that_was_there_is_answered_in_front_of_an_open_post(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    world.like("linus", a_post(world, "opened"), True)
    page = open_as(tabs, stand_in, "grace")
    page.route("**/like", lambda route: route.fulfill(status=429, json={"detail": "too many commands"}))
    card_with(page, "opened").get_by_test_id("like").click()
    expect(page.get_by_text("Not liked.")).to_be_visible()
    opened_from_the_ranking(page)
    page.unroute("**/like")
    page.get_by_role("button", name="Retry").click()
    shows(page.locator("#post-dialog [data-post-id]"), likes=2)


def test_a_message_outlasts_the_post_that_it_came_before(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    world.like("linus", a_post(world, "opened"), True)
    page = open_as(tabs, stand_in, "grace")
    opened_from_the_ranking(page)
    page.route("**/like", lambda route: route.fulfill(status=429, json={"detail": "too many commands"}))
    page.locator("#post-dialog").get_by_test_id("like").click()
    page.get_by_text("Not liked.").hover()  # so that it stays
    page.keyboard.press("Escape")
    expect(page.get_by_text("Not liked.")).to_be_visible()


def test_a_comment_that_fails_after_its_post_was_closed_can_be_sent_again(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    tabs.allow("503")
    world.like("linus", a_post(world, "opened"), True)
    page = open_as(tabs, stand_in, "grace")
    opened_from_the_ranking(page)
    opened, held = page.locator("#post-dialog [data-post-id]"), hold(page, "**/comments", "POST")
    add_comment(opened, "Do not lose this")
    is_held(page, held)
    page.keyboard.press("Escape")
    expect(opened).to_have_count(0)
    held[0].fulfill(status=503, json={"detail": "no"})
    page.get_by_text("Not sent.").hover()  # so that it stays
    page.get_by_role("button", name="Retry").click()
    is_held(page, held, 2)
    assert len({route.request.headers["idempotency-key"] for route in held}) == 1
    held[1].continue_()
    shows(card_with(page, "opened"), comments=1)
    expect(card_with(page, "opened").locator(".own-comments .text")).to_have_text(["Do not lose this"])


def test_words_outlast_the_open_post_for_whoever_wrote_them(tabs: Tabs, stand_in: str, world: World) -> None:
    world.like("linus", a_post(world, "opened"), True)
    page = open_as(tabs, stand_in, "grace")

    def words() -> Locator:
        opened_from_the_ranking(page)
        return page.locator("#post-dialog").get_by_test_id("comment-text")

    def close() -> None:
        page.keyboard.press("Escape")
        expect(page.locator("#post-dialog [data-post-id]")).to_have_count(0)

    words().fill("Not yet")
    close()
    page.get_by_test_id("user").select_option("ada")
    expect(words()).to_have_value("")
    close()
    page.get_by_test_id("user").select_option("grace")
    expect(words()).to_have_value("Not yet")
    page.locator("#post-dialog").get_by_test_id("comment-send").click()
    expect(page.locator("#post-dialog .own-comments .text")).to_have_text(["Not yet"])
    close()
    expect(words()).to_have_value("")


def test_who_only_reads_is_asked_who_they_are_from_an_open_post(tabs: Tabs, stand_in: str, world: World) -> None:
    world.like("linus", a_post(world, "opened"), True)
    page = tabs()
    page.goto(stand_in)
    opened_from_the_ranking(page)
    page.locator("#post-dialog").get_by_test_id("like").click()
    expect(page.locator("#post-dialog")).to_be_hidden()
    expect(page.get_by_text("Choose who you are first")).to_be_visible()
    expect(page.get_by_test_id("user")).to_be_focused()


@pytest.fixture
def under_a_finger(browser: Browser, stand_in: str, world: World) -> Iterator[Page]:
    """A phone that shows a post, about to be tapped."""
    a_post(world, "about to be tapped", minutes_ago=1)
    with browser.new_context(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800}) as context:
        page = open_as(Tabs(context), stand_in, "grace")
        expect(card_with(page, "about to be tapped")).to_be_visible()
        yield page


def test_nothing_moves_by_itself_under_a_finger(under_a_finger: Page, world: World) -> None:
    page = under_a_finger
    a_post(world, "new")
    expect(page.get_by_test_id("new-posts")).to_have_text("1 new post")
    expect(card_with(page, "new")).to_have_count(0)
    page.get_by_test_id("new-posts").tap()
    expect(card_with(page, "new")).to_be_in_viewport()


def test_a_new_post_that_is_told_late_waits_with_those_before_it(under_a_finger: Page, world: World) -> None:
    page = under_a_finger
    a_post(world, "newest")
    expect(page.get_by_test_id("new-posts")).to_have_text("1 new post")
    a_post(world, "told late", minutes_ago=0.5)
    expect(page.get_by_test_id("new-posts")).to_have_text("2 new posts")
    page.get_by_test_id("new-posts").tap()
    expect(page.locator("#posts .caption")).to_have_text(["newest", "told late", "about to be tapped"])


def test_posts_that_wait_go_on_waiting_while_older_ones_come(tabs: Tabs, stand_in: str, world: World) -> None:
    some_posts(world, 30)
    page = open_as(tabs, stand_in, "grace")
    expect(card_with(page, "number 10.")).to_be_attached()
    for number in range(190):
        a_post(world, f"new {number}.")
    expect(card_with(page, "new 189.")).to_be_attached()
    expect(page.locator("#posts [data-post-id]")).to_have_count(200)
    page.evaluate("scrollTo(0, 5_000)")
    for number in range(15):
        a_post(world, f"waiting {number}.")
    expect(page.get_by_test_id("new-posts")).to_have_text("15 new posts")
    last, held = card_with(page, "number 20."), list[Route]()
    page.route("**/feed?*", lambda route: route.continue_() if held else held.append(route))
    last.scroll_into_view_if_needed()
    is_held(page, held)
    place = is_at(last)
    held[0].continue_()
    expect(card_with(page, "number 19.")).to_be_attached()
    expect(card_with(page, "waiting")).to_have_count(0)
    assert is_at(last) == pytest.approx(place, abs=2)


def test_what_is_written_is_not_cut_off_as_one_reads_on(tabs: Tabs, stand_in: str, world: World) -> None:
    some_posts(world, 220)
    page = open_as(tabs, stand_in, "grace")
    first = card_with(page, "number 219.")
    first.get_by_test_id("comment-text").fill("half a")
    to_the_end(page)
    assert page.locator("#posts [data-post-id]").count() == 201
    expect(first.get_by_test_id("comment-text")).to_have_value("half a")


def test_what_is_written_far_below_is_not_cut_off_by_new_posts(tabs: Tabs, stand_in: str, world: World) -> None:
    some_posts(world, 200)
    page = open_as(tabs, stand_in, "grace")
    to_the_end(page)
    last = card_with(page, "number 0.")
    last.get_by_test_id("comment-text").fill("half a")
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.activeElement.blur()")
    a_post(world, "new")
    expect(card_with(page, "new")).to_be_visible()
    expect(last.get_by_test_id("comment-text")).to_have_value("half a")


def test_a_ranked_post_that_rises_keeps_the_focus(tabs: Tabs, stand_in: str, world: World) -> None:
    upper, lower = a_post(world, "upper"), a_post(world, "lower")
    for user, post_id in (("linus", upper), ("alan", upper), ("linus", lower)):
        world.like(user, post_id, True)
    page = open_as(tabs, stand_in, "grace")
    captions = page.get_by_test_id("trending").locator(".ranked-caption")
    expect(captions).to_have_text(["upper", "lower"])
    ranked = page.get_by_test_id("trending").get_by_role("button").filter(has_text="lower")
    ranked.focus()
    for user in ("alan", "barbara"):
        world.like(user, lower, True)
    expect(captions).to_have_text(["lower", "upper"])
    expect(ranked).to_be_focused()


def test_a_ranked_post_is_new_or_moved_against_the_ranking_before_shown_or_not(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    ranked = [a_post(world, f"number {number}") for number in range(6)]
    for post_id, likes in zip(ranked, (9, 8, 7, 6, 2, 1), strict=True):
        for user in range(likes):
            world.like(f"user{user}", post_id, True)
    world.apply_all()
    page = open_as(tabs, stand_in, "grace")
    place = page.get_by_test_id("trending")
    expect(place.locator(".ranked-caption")).to_have_text([f"number {number}" for number in range(5)])
    world.add_comment("linus", ranked[5], "from the sixth place, which is not shown, to the fifth")
    expect(place.locator(f"[data-post-id='{ranked[5]}'] .move")).to_have_text("▲1")
    page.locator("[data-panel=trending] .link").click()
    expect(place.locator(".ranked-caption")).to_have_count(6)
    expect(place.get_by_text("new", exact=True)).to_have_count(0)


def test_the_form_has_the_focus_again_after_a_failure(tabs: Tabs, stand_in: str) -> None:
    tabs.allow("429")
    page = open_as(tabs, stand_in, "grace")
    held = hold(page, "**/posts", "POST")
    choose_picture(page)
    page.get_by_test_id("caption").fill("to be sent again")
    page.get_by_test_id("caption").press("Control+Enter")
    is_held(page, held)
    expect(page.locator("body")).to_be_focused()
    held[0].fulfill(status=429, json={"detail": "too many commands"})
    expect(page.locator("#composer-error")).to_contain_text("Not posted.")
    expect(page.get_by_test_id("caption")).to_be_focused()


def test_a_message_that_is_dismissed_gives_the_focus_back(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    a_post(world, "to be commented")
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "to be commented")
    page.route("**/comments", lambda route: route.fulfill(status=429, json={"detail": "too many commands"}))
    add_comment(card, "not now")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text("Not sent.")).to_have_count(0)
    expect(card.get_by_test_id("comment-text")).to_be_focused()

"""Commands of which nobody knows whether they arrived, and whose they are when somebody else sits there."""

import pytest
from playwright.sync_api import Locator, Route, expect

from producers.commands import IN_DOUBT
from tests.website.browser import Tabs, hold, is_held
from tests.website.scenarios import add_comment, card_with, delete, is_confirmed, open_as, post_picture, shows
from tests.website.test_live import a_post, likes_seen
from tests.website.test_mishaps import be, toasts
from tests.website.world import World

pytestmark = pytest.mark.browser


def refuse(route: Route) -> None:
    route.fulfill(status=429, json={"detail": "too many commands"})


def is_liked(card: Locator, likes: bool) -> None:
    expect(card.get_by_test_id("like")).to_have_attribute("aria-pressed", str(likes).lower())


def test_a_like_that_may_have_arrived_is_sent_again(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("503")
    a_post(world, "liked once")
    page = open_as(tabs, stand_in, "grace")
    card, said, sent = card_with(page, "liked once"), toasts(page), list[Route]()

    def lose_first_answer(route: Route) -> None:
        sent.append(route)
        answer = route.fetch()
        if len(sent) == 1:
            route.fulfill(status=503, json={"detail": IN_DOUBT})
        else:
            route.fulfill(response=answer)

    page.route("**/like", lose_first_answer)
    card.get_by_test_id("like").click()
    is_held(page, sent, 2)
    is_confirmed(card)
    shows(card, likes=1)
    is_liked(card, True)
    assert said.json_value() == []


def test_a_like_of_which_nothing_is_known_is_told_as_that(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("503")
    a_post(world, "liked or not")
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "liked or not")
    page.route("**/like", lambda route: route.fulfill(status=503, json={"detail": IN_DOUBT}))
    card.get_by_test_id("like").click()
    page.get_by_text("It is not known whether your like arrived.").hover()  # so that it stays
    is_liked(card, True)
    shows(card, likes=0)
    page.unroute("**/like")
    page.get_by_role("button", name="Retry").click()
    shows(card, likes=1)
    is_liked(card, True)


def test_a_comment_and_a_deletion_of_which_nothing_is_known_are_told_as_that(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    tabs.allow("503")
    page = open_as(tabs, stand_in, "grace")
    card = post_picture(page, "of grace")
    page.route("**/comments", lambda route: route.fulfill(status=503, json={"detail": IN_DOUBT}))
    add_comment(card, "sent or not")
    expect(page.get_by_text("It is not known whether your comment arrived.")).to_be_visible()
    expect(card.get_by_test_id("comment-text")).to_have_value("sent or not")
    page.unroute("**/comments")
    card.get_by_test_id("comment-send").click()  # under the same key: it counts once
    shows(card, comments=1)
    page.route("**/posts/*", lambda route: route.fulfill(status=503, json={"detail": IN_DOUBT}))
    delete(page, card)
    expect(page.get_by_text("It is not known whether the post is deleted.")).to_be_visible()


def test_a_click_on_the_heart_goes_before_what_is_sent_again(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("503")
    a_post(world, "liked after all")
    page = open_as(tabs, stand_in, "grace")
    card, held = card_with(page, "liked after all"), hold(page, "**/like", "PUT")
    card.get_by_test_id("like").click()
    is_held(page, held)
    card.get_by_test_id("like").click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        held[0].fulfill(status=503, json={"detail": IN_DOUBT})
    is_confirmed(card)
    is_liked(card, False)
    assert len(held) == 1


def test_a_like_that_failed_after_it_was_taken_back_changes_nothing(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    world.like("linus", a_post(world, "liked by linus"), True)
    world.apply_all()
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "liked by linus")
    likes, unlikes, seen = hold(page, "**/like", "PUT"), hold(page, "**/like", "DELETE"), likes_seen(card)
    card.get_by_test_id("like").click()
    is_held(page, likes)
    card.get_by_test_id("like").click()
    shows(card, likes=1)
    refuse(likes[0])
    is_held(page, unlikes)
    unlikes[0].continue_()
    is_confirmed(card)
    assert seen.json_value() == ["2", "1"]


def test_two_windows_of_a_user_agree_on_a_like(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    a_post(world, "liked and not")
    cards = [card_with(open_as(tabs, stand_in, "grace"), "liked and not") for _ in range(2)]
    for card, likes in zip(cards, (True, False), strict=True):
        card.get_by_test_id("like").click()
        shows(card, likes=int(likes))
        is_confirmed(card)
    is_liked(cards[0], False)
    cards[0].page.route("**/like", refuse)
    cards[0].get_by_test_id("like").click()
    expect(cards[0].page.get_by_text("Not liked.")).to_be_visible()
    for card in cards:
        is_liked(card, False)


def test_nobody_else_retries_what_one_did(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("429")
    post_id = a_post(world, "liked by ada")
    page = open_as(tabs, stand_in, "ada")
    card = card_with(page, "liked by ada")
    for user in ("grace", "ada"):
        be(page, "ada")
        page.route("**/like", refuse)
        card.get_by_test_id("like").click()
        page.get_by_text("Not liked.").hover()  # so that it stays
        page.unroute("**/like")
        be(page, user)
        page.get_by_text("Not liked.").hover()
        page.get_by_role("button", name="Retry").click()
        if user == "grace":
            expect(page.get_by_text("Only ada can do that.")).to_be_visible()
            assert world.likes_of(post_id) == 0
    shows(card, likes=1)
    is_liked(card, True)


def test_a_comment_that_arrives_after_one_was_somebody_else_is_listed(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "to be commented")
    page = open_as(tabs, stand_in, "ada")
    card, held = card_with(page, "to be commented"), hold(page, "**/comments", "POST")
    add_comment(card, "by ada")
    is_held(page, held)
    be(page, "grace")
    expect(card.get_by_text("by ada")).to_have_count(0)
    be(page, "ada")
    held[0].continue_()
    shows(card, comments=1)
    expect(card.locator(".own-comments .text")).to_have_text(["by ada"])
    expect(card.get_by_test_id("delete-comment").locator("visible=true")).to_have_count(1)

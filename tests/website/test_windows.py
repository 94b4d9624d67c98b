"""Streams that fall silent, pages that were away, and several windows of one browser."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page

from runtime.processes import wait_until
from tests.website.browser import Tabs
from tests.website.conftest import running
from tests.website.scenarios import card_with, is_confirmed, open_as, shows
from tests.website.test_live import a_post, has_state
from tests.website.world import World

pytestmark = pytest.mark.browser


def test_a_stream_that_has_fallen_silent_is_opened_anew(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id = a_post(world, "told at last")
    tabs.context.clock.install()
    page = open_as(tabs, stand_in, "grace")
    world.lose_streams()
    world.like("linus", post_id, True)
    tabs.context.clock.fast_forward(41_000)
    shows(card_with(page, "told at last"), likes=1)


def test_a_page_that_was_frozen_opens_its_streams_anew(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id = a_post(world, "told at last")
    page = open_as(tabs, stand_in, "grace")
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => document.body.hasAttribute('data-away') })")
    page.clock.set_fixed_time("2026-11-20T14:00:00.000Z")
    show_or_hide(page)
    world.lose_streams()
    world.like("linus", post_id, True)
    page.clock.set_fixed_time("2026-11-20T14:10:00.000Z")
    show_or_hide(page)
    shows(card_with(page, "told at last"), likes=1)


def show_or_hide(page: Page) -> None:
    page.evaluate("document.body.toggleAttribute('data-away')")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_after_a_failure_and_a_pause_a_stream_says_that_it_connects(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    states = page.evaluate(
        """async () => {
          const { Stream } = await import("/stream.js");
          const states = [];
          const stream = new Stream("/trending/stream", {}, () => states.push(stream.state));
          stream.open();
          stream.lost();
          stream.pause();
          stream.open();
          stream.pause();
          return states;
        }"""
    )
    assert states[-3:] == ["paused", "connecting", "paused"]


def test_three_windows_leave_connections_for_clicks(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "seen in three windows")
    pages = [open_as(tabs, stand_in, user) for user in ("ada", "grace", "linus")]
    for likes, page in enumerate(pages, 1):
        page.evaluate("dispatchEvent(new Event('focus'))")
        card = card_with(page, "seen in three windows")
        card.get_by_test_id("like").click()
        shows(card, likes=likes)
        is_confirmed(card)
    for page in pages:
        shows(card_with(page, "seen in three windows"), likes=3)


def test_three_windows_and_what_waits_to_be_counted_hold_up_no_click(
    tabs: Tabs, stand_in: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        a_post(world, f"number {number}.")
    *_, page = [open_as(tabs, stand_in, user) for user in ("ada", "grace", "linus")]
    monkeypatch.setattr(world, "apply_all", lambda: None)  # nothing is counted any more
    answered = list[str]()
    page.on("requestfinished", lambda request: answered.append(request.url.rpartition("/")[2]))
    with page.expect_response("**/posts/*after=*"):
        for number in range(3):
            card_with(page, f"number {number}.").get_by_test_id("like").click()
    assert answered.count("like") == 3


def test_of_four_windows_the_two_that_were_used_last_stream_the_feed_and_the_last_one_the_rankings(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    post_id = a_post(world, "seen in all")
    pages = [open_as(tabs, stand_in, user) for user in ("ada", "grace", "linus", "alan")]
    first, _, *last = pages
    chip = first.get_by_test_id("connection")
    states = chip.evaluate_handle(
        """chip => {
          const states = [];
          const note = () => states.push(chip.dataset.state);
          new MutationObserver(note).observe(chip, { attributeFilter: ["data-state"] });
          return states;
        }"""
    )
    wait_until(lambda: world.opened - world.closed == 2 + 1, 120, lambda: "more streams than that are open")
    for likes, user in enumerate(("linus", "barbara", "edsger"), 1):
        world.like(user, post_id, True)
        for page in pages:
            shows(card_with(page, "seen in all"), likes=likes)
    assert states.json_value() == []
    for page in last:
        page.close()
    shows_each_like_at_once(first, world, post_id)


def test_a_window_that_is_used_streams(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id = a_post(world, "seen in all")
    first, *_ = [open_as(tabs, stand_in, user) for user in ("ada", "grace", "linus", "alan")]
    first.keyboard.press("Shift")
    shows_each_like_at_once(first, world, post_id)


def test_two_windows_show_each_like_at_once(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id = a_post(world, "seen in all")
    for page in [open_as(tabs, stand_in, user) for user in ("ada", "grace")]:
        shows_each_like_at_once(page, world, post_id)


def shows_each_like_at_once(page: Page, world: World, post_id: str) -> None:
    """Told by its stream, which it does not open for that; soon, since windows have yet to hear of each other."""
    card = card_with(page, "seen in all")
    shown_at = card.get_by_test_id("likes").evaluate_handle(
        """count => {
          const shown = {};
          new MutationObserver(() => { shown[count.textContent] ??= Date.now(); })
            .observe(count, { childList: true, characterData: true, subtree: true });
          return shown;
        }"""
    )

    def is_quick() -> bool:
        likes, told = world.likes_of(post_id) + 1, time.time()
        world.like(f"user{likes}", post_id, True)
        shows(card, likes=likes)
        return float(shown_at.json_value()[str(likes)]) / 1_000 - told < 1

    wait_until(lambda: all(is_quick() for _ in range(5)), 120, lambda: "it shows likes late")


def test_numbers_change_where_frames_do_not_come(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.context.add_init_script("window.requestAnimationFrame = () => 1")
    post_id = a_post(world, "seen without frames")
    page = open_as(tabs, stand_in, "ada")
    world.like("linus", post_id, True)
    shows(card_with(page, "seen without frames"), likes=1)


def test_a_window_that_glances_says_when_the_server_is_away(tabs: Tabs, tmp_path: Path, world: World) -> None:
    tabs.allow("net::ERR_")
    with running(tmp_path, world) as address:
        pages = [open_as(tabs, address, user) for user in ("ada", "grace", "linus", "alan")]
    for page in pages:
        has_state(page, "reconnecting|offline")

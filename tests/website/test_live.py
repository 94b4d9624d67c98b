"""What the page does when servers go away, records come twice, or a great deal happens."""

import json
import re
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, JSHandle, Locator, Page, Route, expect

from conf.settings import Settings
from contract.facts import format_time
from runtime.processes import wait_until
from service.auth import issue_token
from tests.feeds.serving import free_ports
from tests.website.browser import Tabs, hold, is_held
from tests.website.conftest import running
from tests.website.scenarios import a_caption, card_with, is_confirmed, open_as, post_picture, shows
from tests.website.world import World

pytestmark = pytest.mark.browser

FRAMES = """milliseconds => new Promise((resolve) => {
  const start = performance.now();
  let frames = 0;
  const frame = (now) => {
    frames += 1;
    if (now - start < milliseconds) requestAnimationFrame(frame);
    else resolve(frames);
  };
  requestAnimationFrame(frame);
})"""


@pytest.fixture
def port() -> int:
    return free_ports(1)


def a_post(world: World, caption: str, minutes_ago: float = 0) -> str:
    """A post that is in the feed already; its picture is none that may be loaded."""
    post_id = world.create_post("ada", "none", caption, minutes_ago)["post_id"]
    world.apply_all()
    return post_id


def has_state(page: Page, state: str) -> None:
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", re.compile(state))


def test_a_page_catches_up_when_its_server_comes_back(tabs: Tabs, tmp_path: Path, world: World, port: int) -> None:
    tabs.allow("net::ERR_")
    post_id = a_post(world, "before the fault")
    with running(tmp_path, world, port) as address:
        page = open_as(tabs, address, "grace")
        card = card_with(page, "before the fault")
    has_state(page, "reconnecting|offline")
    world.closing = False
    world.like("linus", post_id, True)
    with running(tmp_path, world, port):
        has_state(page, "live")
        shows(card, likes=1)


def test_a_page_that_missed_too_much_loads_anew(tabs: Tabs, tmp_path: Path, world: World, port: int) -> None:
    tabs.allow("net::ERR_")
    a_post(world, "of the old store")
    with running(tmp_path, world, port) as address:
        page = open_as(tabs, address, "grace")
    rebuilt = World()
    a_post(rebuilt, "of the new store")
    with running(tmp_path, rebuilt, port):
        expect(card_with(page, "of the new store")).to_be_visible()
        expect(card_with(page, "of the old store")).to_have_count(0)


def test_a_page_without_a_network_says_so(tabs: Tabs, stand_in: str) -> None:
    tabs.allow("net::ERR_")
    page = open_as(tabs, stand_in, "grace")
    tabs.context.set_offline(True)
    has_state(page, "offline")
    tabs.context.set_offline(False)
    has_state(page, "live")


def test_a_page_that_came_too_early_loads_when_the_server_answers(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("503")
    a_post(world, "there in the end")
    page = tabs()
    page.route("**/feed?*", lambda route: route.fulfill(status=503, json={"detail": "the view is being built"}))
    page.goto(stand_in)
    expect(page.get_by_text("Trying again")).to_be_visible()
    page.unroute("**/feed?*")
    expect(card_with(page, "there in the end")).to_be_visible()


def test_an_older_version_never_replaces_a_newer_one(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id, other_id = a_post(world, "the one"), a_post(world, "the other")
    page = open_as(tabs, stand_in, "grace")
    old = world.published[post_id]
    for user in ("linus", "alan"):
        world.like(user, post_id, True)
    shows(card_with(page, "the one"), likes=2)
    world.log.append(("post", old))
    world.like("linus", other_id, True)  # comes after the old record on the same stream
    shows(card_with(page, "the other"), likes=1)
    shows(card_with(page, "the one"), likes=2)


def likes_seen(card: Locator) -> JSHandle:
    """Every number of likes that it shows from now on."""
    return card.get_by_test_id("likes").evaluate_handle(
        """count => {
          const seen = [];
          new MutationObserver(() => seen.push(count.textContent)).observe(count, { childList: true });
          return seen;
        }"""
    )


def test_a_like_is_shown_at_once_and_never_counted_twice(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "to be liked")
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "to be liked")
    seen = likes_seen(card)
    card.get_by_test_id("like").click()
    expect(card).to_have_attribute("data-version", "2")
    card.get_by_test_id("like").click()
    expect(card).to_have_attribute("data-version", "3")
    shows(card, likes=0)
    assert seen.json_value() == ["1", "0"]


def test_likes_of_others_are_shown_while_ones_own_click_is_on_its_way(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id = a_post(world, "liked by many")
    page = open_as(tabs, stand_in, "grace")
    card, held = card_with(page, "liked by many"), hold(page, "**/like", "DELETE")
    card.get_by_test_id("like").click()
    is_confirmed(card)
    card.get_by_test_id("like").click()
    is_held(page, held)
    for number in range(5):
        world.like(f"user{number}", post_id, True)
    shows(card, likes=5)
    held[0].continue_()
    is_confirmed(card)
    shows(card, likes=5)


def test_a_post_that_comes_late_is_put_where_it_belongs(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "old", minutes_ago=30)
    a_post(world, "new")
    page = open_as(tabs, stand_in, "grace")
    expect(card_with(page, "old")).to_be_visible()
    a_post(world, "late", minutes_ago=10)
    expect(page.locator("#posts .caption")).to_have_text(["new", "late", "old"])


def has_older(last: Locator, end: Locator, than: str) -> bool:
    """Whether there are more; the last of them may have come between two looks."""
    return end.is_visible() or last.get_attribute("data-post-id") != than


def to_the_end(page: Page) -> None:
    """Scrolls down until nothing comes any more."""
    end, last = page.get_by_text("You have seen it all."), page.locator("#posts [data-post-id]").last
    while not end.is_visible():
        shown = str(last.get_attribute("data-post-id"))
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        wait_until(partial(has_older, last, end, than=shown), 120, lambda: "no older posts came")


def test_older_posts_come_as_one_scrolls_and_the_page_stays_small(tabs: Tabs, stand_in: str, world: World) -> None:
    for number in range(260):
        a_post(world, f"number {number}", minutes_ago=260 - number)
    page = open_as(tabs, stand_in, "grace")
    to_the_end(page)
    expect(page.locator("#posts [data-post-id]").last).to_contain_text("number 0")
    assert page.locator("#posts [data-post-id]").count() == 200
    page.get_by_test_id("new-posts").click()
    expect(card_with(page, "number 259")).to_be_in_viewport()
    assert page.locator("#posts [data-post-id]").count() < 200


def test_a_page_that_is_told_to_begin_anew_while_older_posts_come_shows_each_once(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    for number in range(60):
        a_post(world, f"number {number}", minutes_ago=60 - number)
    page, held = open_as(tabs, stand_in, "grace"), list[Route]()
    page.route("**/feed?*before=*", lambda route: held.append(route))
    with page.expect_request("**/feed?*before=*"):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
    newest = max(world.published)
    world.log.append(("reset", world.page(20, None)))
    world.like("linus", newest, True)  # comes after it on the same stream
    shows(page.locator(f"#posts [data-post-id='{newest}']"), likes=1)
    held[0].continue_()
    is_held(page, held, 2)  # the first may be older than the new beginning
    held[1].continue_()
    expect(page.locator("#posts .caption")).to_have_text([f"number {number}" for number in range(59, 19, -1)])


def test_changes_are_laid_out_together_while_a_great_deal_happens(tabs: Tabs, stand_in: str, world: World) -> None:
    for number in range(60):
        a_post(world, f"number {number}", minutes_ago=60 - number)
    page = open_as(tabs, stand_in, "grace")
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable")
    laid_out, changes = layouts(browser), len(world.log)
    world.rate = 400
    frames = page.evaluate(FRAMES, 4_000)
    world.rate = 0
    laid_out, changes = layouts(browser) - laid_out, len(world.log) - changes
    assert changes > 3 * frames
    assert laid_out < changes / 2
    post_id = max(world.published)
    card = page.locator(f"#posts [data-post-id='{post_id}']")

    def has_come_to_rest() -> bool:  # the last facts may still be on their way
        shown = [int(card.get_by_test_id(kind).inner_text()) for kind in ("likes", "comments")]
        return shown == [world.published[post_id][kind] for kind in ("likes", "comments")]

    wait_until(has_come_to_rest, 120, lambda: "the page does not show what is published")


def test_changes_that_come_together_are_laid_out_together(tabs: Tabs, stand_in: str, world: World) -> None:
    everything = [a_post(world, f"number {number}", minutes_ago=20 - number) for number in range(20)]
    page = open_as(tabs, stand_in, "grace")
    cards = page.locator("#posts [data-post-id]")
    expect(cards).to_have_count(20)
    browser = page.context.new_cdp_session(page)
    browser.send("Performance.enable")
    before = layouts(browser)
    for number in range(10):  # while the numbers of the round before still roll
        for post_id in everything:
            world.like(f"user{number}", post_id, True)
        wait_until(world.has_counted_all, 120, lambda: "the likes were not counted")
    expect(cards.get_by_test_id("likes").get_by_text("10", exact=True)).to_have_count(20)
    assert layouts(browser) - before < 150, "of two hundred changes, and the rankings of that time"


def layouts(browser: CDPSession) -> int:
    """How often Chromium has computed where everything is."""
    metrics = browser.send("Performance.getMetrics")["metrics"]
    return int(next(metric["value"] for metric in metrics if metric["name"] == "LayoutCount"))


def test_without_the_demo_one_reads_or_signs_in_with_a_token(tabs: Tabs, tmp_path: Path, world: World) -> None:
    tabs.allow("404")  # there is no /demo
    settings = Settings(data_dir=tmp_path, auth_secret="s" * 32)
    a_post(world, "for readers")
    with running(tmp_path, world, demo=False) as address:
        page = tabs()
        page.goto(address)
        card = card_with(page, "for readers")
        card.get_by_test_id("like").click()
        page.get_by_test_id("token").fill("no token")
        page.get_by_test_id("token-send").click()
        expect(page.locator("#token-error")).to_have_text("This is not an access token.")
        page.get_by_test_id("token").fill(issue_token(settings, "hopper", 60))
        page.get_by_test_id("token-send").click()
        card.get_by_test_id("like").click()
        shows(card, likes=1)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_test_id("caption")).to_be_hidden()


def test_a_session_that_ended_is_renewed_in_the_demo(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("401")
    a_post(world, "still mine")
    page = open_as(tabs, stand_in, "ada")
    page.evaluate("sessionStorage.setItem('msm.session', JSON.stringify({ user: 'ada', token: 'a.b.c' }))")
    page.reload()
    card = card_with(page, "still mine")
    expect(page.get_by_test_id("user")).to_have_value("ada")
    card.get_by_test_id("like").click()
    shows(card, likes=1)
    expect(card).to_have_attribute("data-version", "2")


def test_a_picture_that_is_none_leaves_a_placeholder(tabs: Tabs, stand_in: str, world: World) -> None:
    for address in (
        "javascript:alert(1)",
        "data:image/png;base64,AA",
        "//evil.example/x.png",
        "",
        "file:///etc/passwd",
    ):
        world.create_post("ada", address, f"pictured {address}")
    world.apply_all()
    page = open_as(tabs, stand_in, "grace")
    expect(page.locator("#posts [data-post-id]")).to_have_count(5)
    assert page.locator("#posts img[src]").count() == 0


def test_a_reader_who_wants_less_motion_gets_none(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id = a_post(world, "calm")
    page = tabs()
    page.emulate_media(reduced_motion="reduce")
    page.goto(stand_in)
    card = card_with(page, "calm")
    has_state(page, "live")
    world.like("linus", post_id, True)
    shows(card, likes=1)
    assert page.evaluate("document.getAnimations().length") == 0


def test_captions_of_any_length_and_script_fit(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    page.set_viewport_size({"width": 380, "height": 800})
    caption = f"{a_caption()} {'שלום ' * 20}{'x' * 900}\n\n{'word ' * 100}"
    card = post_picture(page, caption)
    expect(card).to_contain_text("x" * 900)
    page.get_by_test_id("caption").fill(caption)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def keep_audit(folder: Path, **result: object) -> None:
    path = Settings(data_dir=folder).audit_result
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"audited_at": "2026-11-20T14:05:00.000Z", "seconds": 9.5, **result}))


def test_the_page_says_how_long_ago_everything_was_recounted(tabs: Tabs, tmp_path: Path, stand_in: str) -> None:
    at = format_time(datetime.now(timezone.utc) - timedelta(days=3, hours=2))
    keep_audit(tmp_path, audited_at=at, facts=1_204_311, drift=0)
    page = open_as(tabs, stand_in, "grace")
    line = page.get_by_test_id("audit")
    expect(line).to_have_text("recounted 3 d ago, 1,204,311 facts, drift 0")
    assert line.evaluate("line => getComputedStyle(line).color === getComputedStyle(document.body).color")
    keep_audit(tmp_path, audited_at=at, facts=1_204_311, part=2, parts=8, drift=0)
    page.reload()
    expect(line).to_have_text("recounted 3 d ago, 1,204,311 facts (part 3 of 8), drift 0")


def test_drift_is_told_loudly_also_on_a_narrow_page(tabs: Tabs, tmp_path: Path, stand_in: str) -> None:
    keep_audit(tmp_path, facts=10, drift=2)
    page = open_as(tabs, stand_in, "grace")
    page.set_viewport_size({"width": 380, "height": 800})
    line = page.get_by_test_id("audit")
    expect(line).to_be_in_viewport()
    expect(line).to_contain_text("drift 2")
    assert line.evaluate("line => getComputedStyle(line).color !== getComputedStyle(document.body).color")


def test_a_recount_is_spoken_only_where_something_differs(tabs: Tabs, tmp_path: Path, stand_in: str) -> None:
    keep_audit(tmp_path, facts=10, drift=0)
    page = open_as(tabs, stand_in, "grace")
    expect(page.get_by_test_id("audit")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="recounted")).to_have_count(0)
    keep_audit(tmp_path, facts=10, drift=2)
    page.reload()
    expect(page.get_by_role("alert").filter(has_text="drift 2")).to_be_visible()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # the same once more, with another age
    expect(page.get_by_test_id("audit")).not_to_have_attribute("role", "alert")
    expect(page.get_by_test_id("audit")).to_contain_text("drift 2")


def test_without_an_audit_the_page_claims_none(tabs: Tabs, tmp_path: Path, stand_in: str) -> None:
    path = Settings(data_dir=tmp_path).audit_result
    path.parent.mkdir()
    path.write_text('{"audited_at": 7, "facts": "<b>many</b>"}')
    page = open_as(tabs, stand_in, "grace")
    expect(page.get_by_test_id("audit")).to_be_hidden()

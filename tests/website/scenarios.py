"""What users do on the page. Each scenario takes tabs and an address: of the stand-in, or of the real stack.

Every scenario posts what it needs, so that it runs beside others and beside simulated traffic.
"""

import re
import time
from collections.abc import Callable
from uuid import uuid4

from playwright.sync_api import Locator, Page, Route, expect

from tests.website.browser import ELSEWHERE, Tabs, picture

Scenario = Callable[[Tabs, str], None]
RANKED_MS = 300_000
"""Of the real stack: it ranks every ten seconds in the tests, on two cores with other work."""


def open_as(tabs: Tabs, base_url: str, user: str) -> Page:
    """A tab in which somebody is this demo user."""
    page = tabs()
    page.goto(base_url)
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    page.get_by_test_id("user").select_option(user)
    expect(page.get_by_test_id("caption")).to_be_visible()
    return page


def a_caption() -> str:
    return f"Seen today {uuid4().hex}"


def choose_picture(page: Page) -> None:
    page.get_by_test_id("image").set_input_files({"name": "picture.png", "mimeType": "image/png", "buffer": picture()})


def post_picture(page: Page, caption: str) -> Locator:
    """Posts and gives the new card, once the feed has it."""
    page.get_by_test_id("caption").fill(caption)
    choose_picture(page)
    page.get_by_test_id("post").click()
    card = card_with(page, caption)
    expect(card).to_be_visible()
    expect(card).not_to_have_attribute("data-version", "-1")
    return card


def card_with(page: Page, caption: str) -> Locator:
    return page.locator("#posts [data-post-id]").filter(has_text=caption)


def shows(card: Locator, *, likes: int | None = None, comments: int | None = None) -> None:
    """Waits until the card shows these numbers."""
    for name, count in (("likes", likes), ("comments", comments)):
        if count is not None:
            expect(card.get_by_test_id(name)).to_have_text(str(count))


def is_confirmed(card: Locator) -> None:
    """Waits until the feed has what was done to the card here."""
    expect(card).to_have_attribute("aria-busy", "false")


def add_comment(card: Locator, text: str) -> None:
    card.get_by_test_id("comment-text").fill(text)
    card.get_by_test_id("comment-send").click()


def delete(page: Page, card: Locator) -> None:
    card.get_by_test_id("delete-post").click()
    page.get_by_test_id("confirm").click()


def a_posted_picture_appears_for_everybody(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    caption = a_caption()
    mine = post_picture(ada, caption)
    theirs = card_with(grace, caption)
    expect(theirs).to_be_visible()
    for card in (mine, theirs):
        shown = card.locator(".picture img.loaded")
        expect(shown).to_be_visible()
        assert shown.evaluate("image => image.naturalWidth") == 320
    expect(mine.get_by_test_id("delete-post")).to_be_visible()
    expect(theirs.get_by_test_id("delete-post")).to_be_hidden()


def likes_of_two_users_are_seen_by_both(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    caption = a_caption()
    mine = post_picture(ada, caption)
    theirs = card_with(grace, caption)
    mine.get_by_test_id("like").click()
    shows(mine, likes=1)
    shows(theirs, likes=1)
    theirs.get_by_test_id("like").click()
    shows(theirs, likes=2)
    shows(mine, likes=2)
    expect(mine.get_by_test_id("like")).to_have_attribute("aria-pressed", "true")


def a_like_that_is_taken_back_is_not_counted(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    caption = a_caption()
    mine = post_picture(ada, caption)
    theirs = card_with(grace, caption)
    theirs.get_by_test_id("like").click()
    shows(mine, likes=1)
    theirs.get_by_test_id("like").click()
    shows(theirs, likes=0)
    shows(mine, likes=0)
    expect(theirs.get_by_test_id("like")).to_have_attribute("aria-pressed", "false")


def quick_clicks_end_at_the_last_one(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "linus")
    card = post_picture(page, a_caption())
    for _ in range(5):
        card.get_by_test_id("like").click()
    shows(card, likes=1)
    is_confirmed(card)
    page.reload()
    shows(card, likes=1)
    expect(card.get_by_test_id("like")).to_have_attribute("aria-pressed", "true")


def a_comment_is_counted_until_its_author_deletes_it(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    caption, text = a_caption(), f"What a light {uuid4().hex}"
    mine = post_picture(ada, caption)
    theirs = card_with(grace, caption)
    add_comment(theirs, text)
    expect(theirs.get_by_text(text)).to_be_visible()
    shows(theirs, comments=1)
    shows(mine, comments=1)
    expect(mine.get_by_test_id("delete-comment")).to_have_count(0)
    theirs.get_by_test_id("delete-comment").click()
    expect(theirs.get_by_text(text)).to_have_count(0)
    shows(theirs, comments=0)
    shows(mine, comments=0)


def own_comments_and_likes_are_still_there_after_a_reload(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "margaret")
    text = f"Mine {uuid4().hex}"
    card = post_picture(page, a_caption())
    card.get_by_test_id("like").click()
    add_comment(card, text)
    expect(card.get_by_test_id("delete-comment")).to_be_visible()
    shows(card, likes=1, comments=1)
    is_confirmed(card)
    page.reload()
    expect(page.get_by_test_id("user")).to_have_value("margaret")
    shows(card, likes=1, comments=1)
    expect(card.get_by_text(text)).to_be_visible()
    expect(card.get_by_test_id("like")).to_have_attribute("aria-pressed", "true")
    page.get_by_test_id("user").select_option("alan")
    expect(card.get_by_text(text)).to_have_count(0)
    expect(card.get_by_test_id("like")).to_have_attribute("aria-pressed", "false")


def a_deleted_post_leaves_every_page(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    caption = a_caption()
    mine = post_picture(ada, caption)
    theirs = card_with(grace, caption)
    expect(theirs).to_be_visible()
    delete(ada, mine)
    expect(mine).to_have_count(0)
    expect(theirs).to_have_count(0)
    ada.reload()
    expect(ada.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    expect(card_with(ada, caption)).to_have_count(0)


def a_post_that_is_kept_after_all_stays(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "ada")
    card = post_picture(page, a_caption())
    card.get_by_test_id("delete-post").click()
    page.get_by_role("button", name="Keep it").click()
    expect(card).to_be_visible()
    delete(page, card)
    expect(card).to_have_count(0)


def markup_from_users_is_only_text(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    mark = uuid4().hex
    hostile = f'<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>{{{{7*7}}}} {mark}'
    mine = post_picture(ada, hostile)
    theirs = card_with(grace, mark)
    expect(theirs.locator(".caption")).to_have_text(hostile)
    add_comment(mine, hostile)
    expect(mine.locator(".own-comments .text")).to_have_text(hostile)
    for page, card in ((ada, mine), (grace, theirs)):
        expect(card.locator("img")).to_have_count(1)
        expect(card.locator("script")).to_have_count(0)
        assert page.evaluate("window.hacked") is None


def addresses_that_run_code_are_not_taken(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "ada")
    caption = a_caption()
    page.get_by_test_id("caption").fill(caption)
    for address in ("javascript:alert(1)", "data:image/svg+xml,<svg onload=alert(1)>", "/etc/passwd", "ftp://x/y.png"):
        page.get_by_test_id("image-url").fill(address)
        page.get_by_test_id("post").click()
        expect(page.locator("#composer-error")).to_contain_text("must begin with https://")
        expect(page.locator("#preview")).to_be_hidden()
    expect(card_with(page, caption)).to_have_count(0)


def a_post_may_name_a_picture_by_its_address(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "barbara")
    caption = a_caption()
    page.get_by_test_id("caption").fill(caption)
    page.get_by_test_id("image-url").fill(f"{ELSEWHERE}/ridge.png")
    expect(page.locator("#preview img")).to_be_visible()
    page.get_by_test_id("post").click()
    card = card_with(page, caption)
    expect(card.locator(".picture img.loaded")).to_have_attribute("src", f"{ELSEWHERE}/ridge.png")
    delete(page, card)
    expect(card).to_have_count(0)


def a_post_without_a_picture_is_not_sent(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "ada")
    page.get_by_test_id("caption").fill(a_caption())
    page.get_by_test_id("post").click()
    expect(page.locator("#composer-error")).to_have_text("Add a picture first.")


def _refuse(route: Route) -> None:
    route.fulfill(status=503, json={"detail": "the broker is away"})


def a_like_that_failed_is_taken_back_and_can_be_retried(tabs: Tabs, base_url: str) -> None:
    tabs.allow("503")
    page = open_as(tabs, base_url, "grace")
    card = post_picture(page, a_caption())
    page.route("**/like", _refuse)
    card.get_by_test_id("like").click()
    page.get_by_text("Not liked.").hover()  # so that it stays
    shows(card, likes=0)
    expect(card.get_by_test_id("like")).to_have_attribute("aria-pressed", "false")
    page.unroute("**/like")
    page.get_by_role("button", name="Retry").click()
    shows(card, likes=1)
    expect(card.get_by_test_id("like")).to_have_attribute("aria-pressed", "true")


def a_comment_that_failed_is_not_lost(tabs: Tabs, base_url: str) -> None:
    tabs.allow("503")
    page = open_as(tabs, base_url, "grace")
    card = post_picture(page, a_caption())
    page.route("**/comments", _refuse)
    add_comment(card, "Do not lose this")
    expect(page.get_by_text("Not sent.")).to_be_visible()
    shows(card, comments=0)
    expect(card.get_by_test_id("comment-text")).to_have_value("Do not lose this")
    page.unroute("**/comments")
    card.get_by_test_id("comment-send").click()
    shows(card, comments=1)
    expect(card.get_by_test_id("comment-text")).to_have_value("")


def a_post_whose_deletion_failed_comes_back(tabs: Tabs, base_url: str) -> None:
    tabs.allow("503")
    page = open_as(tabs, base_url, "grace")
    caption = a_caption()
    card = post_picture(page, caption)
    page.route("**/posts/*", _refuse)
    delete(page, card)
    expect(page.get_by_text("The post is still there.")).to_be_visible()
    expect(card).to_be_visible()
    expect(card.get_by_test_id("delete-post")).to_be_visible()


def somebody_who_only_reads_is_asked_who_they_are(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "ada")
    card = post_picture(page, a_caption())
    page.get_by_test_id("user").select_option("")
    expect(page.get_by_test_id("caption")).to_be_hidden()
    expect(card.get_by_test_id("comment-text")).to_be_hidden()
    card.get_by_test_id("like").click()
    expect(page.get_by_test_id("user")).to_be_focused()
    shows(card, likes=0)


def everything_can_be_done_with_the_keyboard(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "alan")
    card = post_picture(page, a_caption())
    page.evaluate("document.activeElement.blur()")
    for _ in range(50):  # simulated traffic may have put others above
        page.keyboard.press("j")
        if card.evaluate("element => element === document.activeElement"):
            break
    expect(card).to_be_focused()
    page.keyboard.press("l")
    shows(card, likes=1)
    page.keyboard.press("c")
    expect(card.get_by_test_id("comment-text")).to_be_focused()
    page.keyboard.type("by keyboard, just like that")
    page.keyboard.press("Enter")
    shows(card, likes=1, comments=1)


def an_engaged_post_is_ranked_and_opens_from_there(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    caption = a_caption()
    mine = post_picture(ada, caption)
    mine.get_by_test_id("like").click()
    add_comment(card_with(grace, caption), "to the top with it")
    for name in ("trending", "rising"):
        ranked = _unfolded(ada, name).locator("[data-post-id]").filter(has_text=caption)
        expect(ranked.locator(".ranked-likes")).to_have_text("1", timeout=RANKED_MS)
        expect(ranked.locator(".ranked-comments")).to_have_text("1", timeout=RANKED_MS)
    ranked.get_by_role("button").click()
    opened = ada.locator("#post-dialog [data-post-id]")
    shows(opened, likes=1, comments=1)
    card_with(grace, caption).get_by_test_id("like").click()
    shows(opened, likes=2)
    ada.keyboard.press("Escape")
    expect(opened).to_have_count(0)
    ranked.get_by_role("button").click()
    ada.get_by_role("button", name="Close").click()
    expect(opened).to_have_count(0)


def _unfolded(page: Page, name: str) -> Locator:
    """A ranking with all of its places."""
    ranking = page.get_by_test_id(name)
    expect(ranking.locator("[data-post-id]").first).to_be_visible(timeout=RANKED_MS)
    unfold = ranking.locator("xpath=..").get_by_role("button", name="Show all")
    if unfold.is_visible():
        unfold.click()
    return ranking


def new_posts_wait_while_one_reads_further_down(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    for _ in range(3):
        post_picture(ada, a_caption())
    expect(grace.locator("#posts [data-post-id]").nth(2)).to_be_attached()
    grace.evaluate("scrollTo(0, 900)")
    caption = a_caption()
    post_picture(ada, caption)
    expect(grace.get_by_test_id("new-posts")).to_be_visible()
    expect(card_with(grace, caption)).to_have_count(0)
    # Playwright scrolls to what still moves, this time to the top, where new posts come in by themselves.
    grace.get_by_test_id("new-posts").evaluate("pill => Promise.all(pill.getAnimations().map((one) => one.finished))")
    grace.get_by_test_id("new-posts").click()
    expect(card_with(grace, caption)).to_be_in_viewport()


def the_page_says_how_old_it_is_and_that_it_is_live(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "ada")
    expect(page.get_by_test_id("connection")).to_contain_text("Live")
    post_picture(page, a_caption())
    expect(page.get_by_test_id("age")).to_have_text(re.compile(r"last change \d+ s ago"))


def the_numbers_say_what_made_them(tabs: Tabs, base_url: str) -> None:
    ada, grace = open_as(tabs, base_url, "ada"), open_as(tabs, base_url, "grace")
    caption = a_caption()
    mine = post_picture(ada, caption)
    theirs = card_with(grace, caption)
    for card in (mine, theirs):
        card.get_by_test_id("like").click()
    shows(theirs, likes=2)
    is_confirmed(theirs)
    theirs.get_by_test_id("like").click()
    shows(theirs, likes=1)
    for card in (mine, theirs):
        is_confirmed(card)
    panel = ada.get_by_test_id("why")
    _ask_why_until_it_closes(ada, mine, "why-likes")
    expect(panel.locator("h2")).to_have_text("Why 1 like?")
    expect(panel.locator("[data-class=standing] .why-count")).to_have_text("1")
    expect(panel.locator("[data-class=taken_back] .why-count")).to_have_text("1")
    panel.locator("[data-class=standing] summary").click()
    expect(panel.locator("[data-class=standing] ol")).to_contain_text("post_liked by ada")
    ada.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    ada.set_viewport_size({"width": 380, "height": 800})
    mine.get_by_test_id("why-comments").focus()
    ada.keyboard.press("Enter")
    expect(panel.locator("h2")).to_have_text("Why 0 comments?")
    assert ada.evaluate("document.documentElement.scrollWidth") <= 380


def _ask_why_until_it_closes(page: Page, card: Locator, button: str) -> None:
    """The archive may be some seconds behind the numbers."""
    said = page.locator("#why-sum")
    until = time.monotonic() + RANKED_MS / 1000
    while time.monotonic() < until:
        card.get_by_test_id(button).click()
        expect(said).not_to_have_text("Reading the archive…")
        if "The sums close." in said.inner_text():
            return
        page.get_by_test_id("why-close").click()
        page.wait_for_timeout(500)
    raise AssertionError(f"the sums never closed: {said.inner_text()}")


def a_narrow_page_shows_one_section_at_a_time(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "ada")
    page.set_viewport_size({"width": 380, "height": 800})
    expect(page.get_by_test_id("trending")).to_be_hidden()
    page.get_by_role("button", name="Trending").click()
    expect(page.locator("#trending-title")).to_be_visible()
    expect(page.locator("#posts")).to_be_hidden()
    page.get_by_role("button", name="Rising").click()
    expect(page.locator("#rising-title")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def the_theme_is_remembered(tabs: Tabs, base_url: str) -> None:
    page = open_as(tabs, base_url, "ada")
    theme = page.get_by_role("button", name="Dark theme")
    before = theme.get_attribute("aria-pressed")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    theme.click()
    page.reload()
    expect(theme).not_to_have_attribute("aria-pressed", str(before))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background


ALL: tuple[Scenario, ...] = (
    a_posted_picture_appears_for_everybody,
    likes_of_two_users_are_seen_by_both,
    a_like_that_is_taken_back_is_not_counted,
    quick_clicks_end_at_the_last_one,
    a_comment_is_counted_until_its_author_deletes_it,
    own_comments_and_likes_are_still_there_after_a_reload,
    a_deleted_post_leaves_every_page,
    a_post_that_is_kept_after_all_stays,
    markup_from_users_is_only_text,
    addresses_that_run_code_are_not_taken,
    a_post_may_name_a_picture_by_its_address,
    a_post_without_a_picture_is_not_sent,
    a_like_that_failed_is_taken_back_and_can_be_retried,
    a_comment_that_failed_is_not_lost,
    a_post_whose_deletion_failed_comes_back,
    somebody_who_only_reads_is_asked_who_they_are,
    everything_can_be_done_with_the_keyboard,
    an_engaged_post_is_ranked_and_opens_from_there,
    new_posts_wait_while_one_reads_further_down,
    the_page_says_how_old_it_is_and_that_it_is_live,
    the_numbers_say_what_made_them,
    a_narrow_page_shows_one_section_at_a_time,
    the_theme_is_remembered,
)

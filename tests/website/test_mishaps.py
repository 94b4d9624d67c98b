"""What the page does when answers are late, broken, of another server, or cross what somebody is just doing."""

import json

import pytest
from playwright.sync_api import FilePayload, JSHandle, Page, expect

from runtime.processes import wait_until
from tests.website.browser import ELSEWHERE, Tabs, hold, is_held, picture
from tests.website.scenarios import add_comment, card_with, choose_picture, delete, open_as, shows
from tests.website.test_live import a_post, has_state
from tests.website.world import World, now

pytestmark = pytest.mark.browser


def be(page: Page, user: str) -> None:
    """Choose another user, or nobody."""
    page.get_by_test_id("user").select_option(user)
    if user:
        expect(page.locator("#me")).to_have_attribute("title", user)
    else:
        expect(page.locator("#welcome")).to_be_visible()


def toasts(page: Page) -> JSHandle:
    """Everything that toasts say from now on, also what is gone before anybody looks."""
    return page.locator("#toasts").evaluate_handle(
        """shelf => {
          const said = [];
          const added = (changes) => changes.flatMap(({ addedNodes }) => [...addedNodes]);
          const note = (changes) => said.push(...added(changes).map((node) => node.textContent));
          new MutationObserver(note).observe(shelf, { childList: true, subtree: true });
          return said;
        }"""
    )


def test_the_ranking_that_came_last_is_shown_whatever_its_time(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("net::ERR_")
    for caption in ("of the fast clock", "of the clock set back"):
        world.like("linus", a_post(world, caption), True)
    world.apply_all()
    now = world.ranking()
    by_caption = {post["caption"]: post for post in now["posts"]}
    rankings = [
        {**now, "generated_at": "2026-11-20T15:00:00.000Z", "posts": [by_caption["of the fast clock"]]},
        {**now, "generated_at": "2026-11-20T14:00:00.000Z", "posts": [by_caption["of the clock set back"]]},
    ]
    body = "".join(f"event: trending\ndata: {json.dumps(ranking)}\n\n" for ranking in rankings)
    page = tabs()
    page.route("**/trending/stream*", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    page.goto(stand_in)
    expect(page.get_by_test_id("trending").locator(".ranked-caption")).to_have_text(["of the clock set back"])


def test_what_is_being_written_outlasts_a_new_beginning(tabs: Tabs, stand_in: str, world: World) -> None:
    for number in range(60):
        a_post(world, f"number {number}.", minutes_ago=60 - number)
    page = open_as(tabs, stand_in, "grace")
    first, deep = card_with(page, "number 58."), card_with(page, "number 35.")
    first.get_by_test_id("comment-text").fill("half a")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    deep.get_by_test_id("comment-text").fill("the other half")
    expect(deep).to_be_in_viewport()
    newest = max(world.published)
    world.log.append(("reset", world.page(20, None)))
    world.like("linus", newest, True)  # comes after it on the same stream
    shows(page.locator(f"#posts [data-post-id='{newest}']"), likes=1)
    expect(first.get_by_test_id("comment-text")).to_have_value("half a")
    expect(deep.get_by_test_id("comment-text")).to_have_value("the other half")
    expect(deep.get_by_test_id("comment-text")).to_be_focused()
    expect(deep).to_be_in_viewport()
    captions = page.locator("#posts .caption").all_text_contents()
    assert captions == sorted(captions, key=lambda text: -int(text.split()[1][:-1]))


def test_a_page_of_one_instance_and_the_stream_of_another_come_to_rest(tabs: Tabs, stand_in: str, world: World) -> None:
    post_id = a_post(world, "of the stream's instance")
    elsewhere = {**world.page(20, None), "posts": [], "stream_id": "elsewhere-7"}
    page, asked = tabs(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/feed?*", lambda route: route.fulfill(json=elsewhere))
    page.goto(stand_in)
    card = card_with(page, "of the stream's instance")
    expect(card).to_be_visible()
    has_state(page, "live")
    world.like("linus", post_id, True)
    shows(card, likes=1)
    assert len([url for url in asked if "/feed/stream" in url]) == 1


def test_a_deletion_that_happened_all_the_same_stays_one(tabs: Tabs, stand_in: str, world: World) -> None:
    tabs.allow("503")
    post_id, other = a_post(world, "soon gone"), a_post(world, "the other")
    page = open_as(tabs, stand_in, "ada")
    held = hold(page, "**/posts/*", "DELETE")
    delete(page, card_with(page, "soon gone"))
    is_held(page, held)
    said = toasts(page)
    world.delete_post("ada", post_id)
    world.like("linus", other, True)  # comes after it on the same stream
    shows(card_with(page, "the other"), likes=1)
    held[0].fulfill(status=503, json={"detail": "it may be stored or not"})
    page.wait_for_function("said => said.some((text) => text.includes('Your post is deleted.'))", arg=said)
    expect(card_with(page, "soon gone")).to_have_count(0)


def test_ones_new_post_goes_where_it_belongs_once_the_feed_told_its_time(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    a_post(world, "in between", minutes_ago=2)
    page = open_as(tabs, stand_in, "ada")
    page.route("**/feed/stream*", lambda route: None)  # the answer is all that tells it
    page.reload()
    held = hold(page, "**/posts/*after=*", "GET")
    page.get_by_test_id("caption").fill("of a slow clock")
    choose_picture(page)
    page.get_by_test_id("post").click()
    captions = page.locator("#posts .caption")
    expect(captions).to_have_text(["of a slow clock", "in between"])
    is_held(page, held)
    world.apply_all()
    newest = max(world.published)
    world.published[newest]["created_at"] = now(minutes_ago=5)
    held[0].continue_()
    expect(captions).to_have_text(["in between", "of a slow clock"])


def test_what_waits_to_be_counted_holds_up_no_click(tabs: Tabs, stand_in: str, world: World) -> None:
    everything = [a_post(world, f"number {number}", minutes_ago=number) for number in range(6)]
    page = open_as(tabs, stand_in, "ada")
    waiting = hold(page, "**/posts/*after=*", "GET")
    for post_id in everything:
        page.locator(f"#posts [data-post-id='{post_id}']").get_by_test_id("like").click()
    for post_id in everything:
        wait_until(lambda post_id=post_id: world.likes_of(post_id) == 1, 120, lambda: "a like is not stored")  # type: ignore[misc]
    is_held(page, waiting, 2)
    page.wait_for_load_state()  # whatever else was asked for has been heard of
    assert len(waiting) == 2
    for count in range(len(everything)):
        is_held(page, waiting, count + 1)
        waiting[count].continue_()
    for post_id in everything:
        card = page.locator(f"#posts [data-post-id='{post_id}']")
        expect(card).to_have_attribute("aria-busy", "false")
        shows(card, likes=1)


def test_what_one_has_written_is_not_the_next_ones(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "to be commented")
    page = open_as(tabs, stand_in, "ada")
    card = card_with(page, "to be commented")
    page.get_by_test_id("caption").fill("by ada")
    choose_picture(page)
    card.get_by_test_id("comment-text").fill("ada's too")
    be(page, "")
    be(page, "ada")
    expect(card.get_by_test_id("comment-text")).to_have_value("ada's too")
    be(page, "grace")
    expect(card.get_by_test_id("comment-text")).to_have_value("")
    expect(page.get_by_test_id("caption")).to_have_value("")
    page.get_by_test_id("post").click()
    expect(page.locator("#composer-error")).to_have_text("Add a picture first.")


def test_one_becomes_whom_one_chose_last(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    late = hold(page, "**/demo/token", "POST")
    page.locator("#user").select_option("ada")
    is_held(page, late)
    page.locator("#user").select_option("")
    expect(page.locator("#welcome")).to_be_visible()
    with page.expect_response("**/demo/token"):
        late[0].continue_()
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 0))")  # what waited for the answer has run
    expect(page.locator("#user")).to_have_value("")
    expect(page.locator("#welcome")).to_be_visible()


def test_a_comment_that_failed_late_is_put_before_what_was_written_since(
    tabs: Tabs, stand_in: str, world: World
) -> None:
    tabs.allow("503")
    a_post(world, "to be commented")
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "to be commented")
    held = hold(page, "**/comments", "POST")
    add_comment(card, "first")
    is_held(page, held)
    card.get_by_test_id("comment-text").fill("second")
    held[0].fulfill(status=503, json={"detail": "no"})
    expect(card.get_by_test_id("comment-text")).to_have_value("first second")


def test_ones_comments_are_in_the_order_in_which_they_were_written(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "much to say")
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "much to say")
    held = hold(page, "**/comments", "POST")
    add_comment(card, "first")
    add_comment(card, "second")
    is_held(page, held, 2)
    for route, stored in ((held[1], 1), (held[0], 2)):
        route.fallback()
        expect(card.get_by_test_id("delete-comment").locator("visible=true")).to_have_count(stored)
        expect(card.locator(".own-comments .text")).to_have_text(["first", "second"])


def test_nothing_can_be_written_where_it_would_be_wiped(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    held = hold(page, "**/posts", "POST")
    page.get_by_test_id("caption").fill("on its way")
    page.get_by_test_id("image-url").fill(f"{ELSEWHERE}/ridge.png")
    page.get_by_test_id("post").click()
    is_held(page, held)
    expect(page.get_by_test_id("caption")).to_be_disabled()
    held[0].continue_()
    expect(page.get_by_test_id("caption")).to_be_enabled()
    expect(page.get_by_test_id("caption")).to_have_value("")


def test_of_two_ranked_posts_that_are_clicked_the_last_is_opened(tabs: Tabs, stand_in: str, world: World) -> None:
    for caption in ("one", "two"):
        world.like("linus", a_post(world, caption), True)
    page = open_as(tabs, stand_in, "grace")
    ranked = page.get_by_test_id("trending").locator("[data-post-id]")
    expect(ranked).to_have_count(2)
    held = hold(page, "**/posts/*", "GET")
    page.evaluate("document.querySelectorAll('[data-testid=trending] button').forEach((ranked) => ranked.click())")
    is_held(page, held, 2)
    last = str(held[1].request.url).rsplit("/", 1)[1]
    held[1].continue_()
    opened = page.locator("#post-dialog [data-post-id]")
    expect(opened).to_have_attribute("data-post-id", last)
    with page.expect_response(held[0].request.url):
        held[0].continue_()
    page.evaluate("fetch('/demo').then((answer) => answer.json())")  # by now the late answer was looked at
    expect(opened).to_have_attribute("data-post-id", last)


def test_a_key_that_is_held_down_likes_once(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "liked by key")
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "liked by key")
    card.focus()
    for _ in range(4):
        page.keyboard.down("l")
    page.keyboard.up("l")
    shows(card, likes=1)
    expect(card.get_by_test_id("like")).to_have_attribute("aria-pressed", "true")


def test_j_begins_where_one_reads(tabs: Tabs, stand_in: str, world: World) -> None:
    for caption in ("first", "second", "third"):
        a_post(world, caption)
    page = open_as(tabs, stand_in, "grace")
    card_with(page, "second").evaluate("(card) => scrollTo(0, card.getBoundingClientRect().top + scrollY)")
    page.keyboard.press("j")
    expect(card_with(page, "second")).to_be_focused()
    page.keyboard.press("j")
    expect(card_with(page, "first")).to_be_focused()


def test_a_caption_is_as_long_as_the_server_says(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    choose_picture(page)
    page.get_by_test_id("caption").fill("🏔" * 2_201)
    expect(page.locator("#counter")).to_have_text("1 too many")
    page.get_by_test_id("post").click()
    expect(page.locator("#composer-error")).to_have_text("The caption is too long.")
    page.get_by_test_id("caption").fill("🏔" * 2_200)
    expect(page.locator("#counter")).to_have_text("0 left")
    page.get_by_test_id("post").click()
    expect(page.get_by_test_id("caption")).to_have_value("")
    expect(card_with(page, "🏔" * 2_200)).to_be_visible()


def test_a_picture_that_is_too_large_is_not_sent(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    large: FilePayload = {"name": "large.png", "mimeType": "image/png", "buffer": picture() + bytes(10 * 1024 * 1024)}
    page.get_by_test_id("image").set_input_files(large)
    expect(page.locator("#composer-error")).to_have_text("Choose a smaller picture: at most 10 MiB.")
    expect(page.locator("#preview")).to_be_hidden()


def test_nothing_is_wider_than_the_smallest_phone(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "narrow")
    page = tabs()
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(stand_in)
    page.get_by_test_id("user").select_option("grace")
    expect(card_with(page, "narrow")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_two_tabs_of_a_user_remember_both_of_their_likes(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    remembered = page.evaluate(
        """async () => {
          const { Memory } = await import("/memory.js");
          const [one, other] = [new Memory("x"), new Memory("x")];
          one.setLiked("p1", true);
          other.setLiked("p2", true);
          return [...new Memory("x").liked];
        }"""
    )
    assert remembered == ["p1", "p2"]


def test_a_browser_that_keeps_nothing_still_shows_and_likes(tabs: Tabs, stand_in: str, world: World) -> None:
    a_post(world, "nothing is kept")
    page = tabs()
    forbidden = "get() { throw new DOMException('no', 'SecurityError'); }"
    for name in ("localStorage", "sessionStorage"):
        page.add_init_script(f"Object.defineProperty(window, '{name}', {{ {forbidden} }})")
    page.goto(stand_in)
    page.get_by_test_id("user").select_option("grace")
    expect(page.get_by_test_id("caption")).to_be_visible()
    card = card_with(page, "nothing is kept")
    card.get_by_test_id("like").click()
    shows(card, likes=1)
    page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_attribute("aria-pressed", "true")
    card.get_by_test_id("like").click()
    shows(card, likes=0)


def test_an_answer_that_is_cut_off_is_no_success(tabs: Tabs, stand_in: str) -> None:
    page = open_as(tabs, stand_in, "grace")
    page.route("**/audit", lambda route: route.fulfill(status=200, body='{"facts":'))
    status = page.evaluate("import('/api.js').then((api) => api.getAudit()).catch((error) => error.status)")
    assert status == 0

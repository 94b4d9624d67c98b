"""Whatever stands in the feed, it stays text: no script of a user's runs, and nothing is loaded but pictures."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.website.browser import Tabs
from tests.website.scenarios import add_comment, card_with, open_as
from tests.website.world import World

pytestmark = pytest.mark.browser
HACK = "window.hacked=(window.hacked||0)+1"
TEXTS = [
    f"<script>{HACK}</script>",
    f"<img src=x onerror={HACK}>",
    f'"><svg onload="{HACK}">',
    f"' onmouseover='{HACK}",
    f"</p></article><iframe srcdoc='<script>parent.{HACK}</script>'>",
    f"<a href='javascript:{HACK}'>here</a>",
    f"${{{HACK}}} {{{{constructor.constructor('{HACK}')()}}}}",
    f"<style>*{{background:url(javascript:{HACK})}}</style><link rel=stylesheet href=//evil.example/x.css>",
    f"<form action=javascript:{HACK}><button autofocus onfocus={HACK}>",
    "<base href=//evil.example/><meta http-equiv=refresh content=0;url=//evil.example/>",
    "\u202e gnp.exe \u2028\u2029\0 end",
    "<![CDATA[<script>]]><!-- --><math><mtext><table><mglyph><style><img src=x onerror=" + HACK + ">",
]
NAMES = [f"<img src=x onerror={HACK}>", f"';{HACK};'", "__proto__", "constructor"]
ADDRESSES = [
    f"javascript:{HACK}",
    f"data:text/html,<script>{HACK}</script>",
    f"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='{HACK}'/>",
    "//evil.example/x.png",
    "/media/../healthz",
    '/media/x.png" onerror="' + HACK,
    "blob:http://evil.example/1",
    "file:///etc/passwd",
    "\tjavascript:" + HACK,
    "https://evil.example/svg",
]
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' onload='{HACK}'><script>{HACK}</script></svg>"


@pytest.fixture
def asked(tabs: Tabs, world: World) -> list[Request]:
    """Requests to elsewhere; all of them are answered with a picture that would run a script."""
    tabs.allow("ERR_FAILED", "404", "ERR_")
    found: list[Request] = []
    tabs.context.on("request", lambda request: found.append(request))
    tabs.context.route("**evil.example/**", lambda route: route.fulfill(body=SVG, content_type="image/svg+xml"))
    tabs.context.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    return found


def is_unhurt(page: Page, asked: list[Request], home: str) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelectorAll('iframe, object, embed, base').length") == 0
    assert page.evaluate("document.querySelectorAll('#posts script, #posts style, #posts link, #posts a').length") == 0
    elsewhere = [one for one in asked if urlsplit(one.url).netloc not in (urlsplit(home).netloc, "")]
    assert {one.resource_type for one in elsewhere} <= {"image"}
    assert not [one for one in asked if one.url.startswith(("javascript:", "file:"))]


def test_hostile_posts_stay_text_and_pictures(tabs: Tabs, stand_in: str, world: World, asked: list[Request]) -> None:
    for number, text in enumerate(TEXTS):
        user, address = NAMES[number % len(NAMES)], ADDRESSES[number % len(ADDRESSES)]
        post_id = world.create_post(user, address, text)["post_id"]
        world.apply_all()
        world.like("ada", post_id, True)
    world.apply_all()
    page = open_as(tabs, stand_in, "grace")
    expect(page.locator("#posts [data-post-id]")).to_have_count(len(TEXTS))
    shown = page.locator("#posts .caption").evaluate_all("all => all.map(one => one.textContent)")
    assert sorted(shown) == sorted(TEXTS)
    expect(page.get_by_test_id("trending").locator("[data-post-id]").first).to_be_visible()
    page.get_by_test_id("trending").get_by_role("button").first.click()
    expect(page.locator("#post-dialog [data-post-id]")).to_be_visible()
    is_unhurt(page, asked, stand_in)


def test_hostile_comments_stay_text(tabs: Tabs, stand_in: str, world: World, asked: list[Request]) -> None:
    world.create_post("ada", "none", "to be commented")
    world.apply_all()
    page = open_as(tabs, stand_in, "grace")
    card = card_with(page, "to be commented")
    written = [text for text in TEXTS if "\u2028" not in text]  # a line of input takes no line's end
    for text in written:
        add_comment(card, text)
        expect(card.get_by_text(text, exact=True)).to_be_visible()
    expect(card.get_by_test_id("delete-comment").locator("visible=true")).to_have_count(len(written))  # all are stored
    page.reload()
    expect(card.locator(".own-comments .text")).to_have_text(written)
    is_unhurt(page, asked, stand_in)


def test_a_picture_never_asks_the_service_itself(tabs: Tabs, stand_in: str, world: World, asked: list[Request]) -> None:
    for address in ("/posts/x/explain", "/feed?limit=100", "/media/../audit", "/media/%2e%2e/audit", "/media/.."):
        world.create_post("ada", stand_in + address, f"pictured {address}")
    world.create_post("ada", f"{stand_in}/media/{'0' * 64}.png", "uploaded")
    world.like("ada", world.create_post("ada", "/media/..", "pictured /media/..")["post_id"], True)
    world.apply_all()
    page = open_as(tabs, stand_in, "grace")
    expect(page.locator("#posts [data-post-id]")).to_have_count(7)
    expect(page.get_by_test_id("trending").locator("[data-post-id]")).to_have_count(1)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("img[src*=http]")).to_have_count(1)
    pictures = [one.url for one in asked if one.resource_type == "image"]
    assert {urlsplit(url).path for url in pictures} <= {"/favicon.svg", f"/media/{'0' * 64}.png"}


def test_an_event_of_the_stream_is_only_data(tabs: Tabs, stand_in: str, world: World, asked: list[Request]) -> None:
    page = open_as(tabs, stand_in, "grace")
    for text in TEXTS:
        world.create_post("ada", "none", f"event: reset\ndata: {{}}\n\n{text}")
    expect(page.locator("#posts [data-post-id]")).to_have_count(len(TEXTS))
    is_unhurt(page, asked, stand_in)


def test_a_script_that_got_into_the_page_would_not_run(tabs: Tabs, stand_in: str) -> None:
    """The policy is the second wall: here somebody is over the first."""
    tabs.allow("Content Security Policy", "Trusted")
    page = open_as(tabs, stand_in, "grace")
    page.evaluate(
        """hack => {
          const button = document.createElement("button");
          for (const attempt of [
            () => { document.body.innerHTML = `<img src=x onerror="${hack}">`; },
            () => { button.setAttribute("onclick", hack); document.body.append(button); button.click(); },
            () => { document.write(`<script>${hack}</scr` + "ipt>"); },
          ]) { try { attempt(); } catch { /* refused */ } }
        }""",
        HACK,
    )
    assert page.evaluate("window.hacked") is None

"""A headless Chromium whose pages may leave nothing on the console."""

from collections.abc import Callable, Sized
from io import BytesIO
from uuid import uuid4

from PIL import Image
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Route

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 60_000
ELSEWHERE = "https://pictures.example"
"""A site of pictures that every tab reaches; of other sites no name is resolved."""


def picture() -> bytes:
    """A small picture that was never posted before."""
    encoded = BytesIO()
    Image.frombytes("RGB", (8, 8), (uuid4().bytes * 12)[:192]).resize((320, 240)).save(encoded, "PNG")
    return encoded.getvalue()


class Console:
    """What pages left on the console, but for what a scenario brought about on purpose."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.allowed: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.lines.append(f"uncaught: {error}"))

    def _note(self, message: ConsoleMessage) -> None:
        is_uncounted = "404" in message.text and "after=" in message.location["url"]  # not yet: the page asks again
        if message.type in ("error", "warning") and not is_uncounted:
            self.lines.append(f"{message.type}: {message.text}")

    def unexpected(self) -> list[str]:
        return [line for line in self.lines if not any(part in line for part in self.allowed)]


class Tabs:
    """Tabs of one browser window; call it for a new one. `allow` names console lines that are meant to be."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        context.route(f"{ELSEWHERE}/**", lambda route: route.fulfill(body=picture(), content_type="image/png"))
        self.console = Console()

    def __call__(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        self.console.watch(page)
        return page

    def allow(self, *parts: str) -> None:
        self.console.allowed.extend(parts)


def hold(page: Page, pattern: str, method: str) -> list[Route]:
    """Requests that wait until the test lets them go on."""
    held = list[Route]()
    page.route(pattern, lambda route: held.append(route) if route.request.method == method else route.fallback())
    return held


def is_held(page: Page, held: Sized, count: int = 1) -> None:
    for _ in range(400):
        if len(held) >= count:
            return
        page.wait_for_timeout(50)
    raise AssertionError("nothing was asked for")


def hold_answers(page: Page, pattern: str) -> list[Callable[[], None]]:
    """Answers of now, each of which comes when the test calls it."""
    held = list[Callable[[], None]]()

    def keep(route: Route) -> None:
        answer = route.fetch()
        held.append(lambda: route.fulfill(response=answer))

    page.route(pattern, keep)
    return held

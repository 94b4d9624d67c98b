"""What the HTTP feed answers, page by page, into a file."""

import json
import time
import urllib.error
import urllib.parse
from pathlib import Path
from typing import Any

from audit.offsets import CannotAuditError
from conf.http import get
from contract.facts import parse_time

PAGE = 100
PATIENCE_SECONDS = 30.0


def answers(url: str) -> bool:
    """Whether a feed is there at all."""
    try:
        _get(url, limit="1")
        return True
    except (OSError, ValueError):
        return False


def keep_pages(url: str, path: Path, moment: float) -> int:
    """Every post of the feed, a line each; how many. Each page has all that was in the topic at that moment."""
    posts, before = 0, None
    with path.open("w") as file:
        while True:
            page = _in_step(url, moment, limit=str(PAGE), **({"before": before} if before else {}))
            file.writelines(json.dumps(post) + "\n" for post in page["posts"])
            posts += len(page["posts"])
            before = page["next"]
            if before is None:
                return posts


def _in_step(url: str, moment: float, **query: str) -> Any:
    """A page that is of that moment or later: where several instances answer, one may be behind another."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while parse_time((page := _get(url, **query))["as_of"]).timestamp() < moment:
        if time.monotonic() > deadline:
            raise CannotAuditError(f"the feed at {url} is behind its topic: {url}/healthz says why")
        time.sleep(0.2)
    return page


def rankings(url: str) -> dict[str, Any]:
    """What the feed of the rankings answers; empty where it is not there."""
    try:
        return {board: _get(url, board) for board in ("trending", "rising")}
    except (OSError, ValueError):
        return {}


def _get(url: str, path: str = "feed", **query: str) -> Any:
    """Its answer; one that is busy, or builds its view, is asked again for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return json.loads(get(f"{url}/{path}?{urllib.parse.urlencode(query)}", 10))
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                told = f"{url}/{path} answers {error.code}: {url}/healthz says why"
                raise CannotAuditError(f"{told}; or set MSM_HTTP_HOST and MSM_TRENDING_HOST") from None
        time.sleep(0.2)

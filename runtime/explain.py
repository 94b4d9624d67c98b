"""`msm explain`: asks the running stack, and prints what it answers."""

import json
import urllib.error
import urllib.parse
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conf.http import get
from conf.settings import Settings

SECONDS = 40


def explanation_of(settings: Settings, post_id: str, newest: int) -> dict[str, Any]:
    """The answer of the stack; LookupError with one sentence where there is none."""
    base = f"http://{settings.http_host}:{settings.http_port}"
    url = f"{base}/posts/{urllib.parse.quote(post_id, safe='')}/explain?newest={newest}"
    try:
        found: dict[str, Any] = json.loads(get(url, SECONDS))
        return found
    except urllib.error.HTTPError as error:
        raise LookupError(_said(error)) from None
    except (OSError, ValueError):
        raise LookupError(f"nothing answers at {base}: make up starts the stack") from None


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError):
        return f"the feed answers with {error.code}"


def show_explanation(found: dict[str, Any], console: Console) -> None:
    """Print the classes, and the newest records of each."""
    console.print(f"post {found['post_id']}: {_numbers(found)}", markup=False)
    table = Table("class", "records", "likes", "comments", "meaning")
    for name, group in found["classes"].items():
        counts = [f"{group[field]:,}" for field in ("count", "likes", "comments")]
        table.add_row(name.replace("_", " "), *counts, group["meaning"])
    table.add_section()
    table.add_row("all", f"{found['records']:,}", "", "", _verdict(found))
    console.print(table)
    console.print(_records(found["classes"]))


def _numbers(found: dict[str, Any]) -> str:
    post = found["published"]
    return f"{post['likes']:,} likes, {post['comments']:,} comments" if post else "not published"


def _verdict(found: dict[str, Any]) -> str:
    if found["behind"]:
        return f"the archive is {found['behind']:,} records behind: ask again in some seconds"
    if not found["closes"]:
        return "the sums do NOT close: make audit"
    gone = f", but for {found['erased']:,} records erased with their user" if found["erased"] else ""
    return f"the sums close{gone}"


def _records(classes: dict[str, Any]) -> Table:
    table = Table("class", "record", "fact", "by", "occurred at", "arrived at")
    for name, group in classes.items():
        for place in group["newest"]:
            where = f"{place['topic']} {place['partition']} @ {place['offset']}"
            fact = place["reason"] or place["event_type"] or ""
            cells = (where, fact, place["user_id"] or "", place["occurred_at"] or "", place["arrived_at"])
            table.add_row(name.replace("_", " "), *(Text(cell) for cell in cells))
    return table

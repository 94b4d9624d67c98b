"""What an audit reads of a feed that is not always there."""

import json
import urllib.error
from email.message import Message
from pathlib import Path

import pytest

from audit import feed
from audit.offsets import CannotAuditError

PAGE = json.dumps({"posts": [{"post_id": "p1"}], "next": None, "as_of": "2026-11-20T14:00:00.000Z"})


def answering(monkeypatch: pytest.MonkeyPatch, *answers: int | str) -> list[str]:
    """Pages, or the status of a refusal; what was asked for."""
    left, asked = list(answers), []

    def get(url: str, seconds: float) -> str:
        asked.append(url)
        answer = left.pop(0)
        if isinstance(answer, int):
            raise urllib.error.HTTPError(url, answer, "", Message(), None)
        return answer

    monkeypatch.setattr(feed, "get", get)
    return asked


def test_a_feed_that_builds_its_view_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, 503, 503, PAGE)
    assert feed.keep_pages("http://x", tmp_path / "pages", 0) == 1
    assert json.loads((tmp_path / "pages").read_text()) == {"post_id": "p1"}
    assert len(asked) == 3


@pytest.mark.parametrize("status", [503, 404])
def test_one_that_stays_away_says_what_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(feed, "PATIENCE_SECONDS", -1)
    answering(monkeypatch, status)
    with pytest.raises(CannotAuditError, match=f"answers {status}: http://x/healthz says why"):
        feed.keep_pages("http://x", tmp_path / "pages", 0)

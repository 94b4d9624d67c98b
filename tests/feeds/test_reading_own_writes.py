"""`?after=` of rankings: once what the token names had been read when the ranking was made, or the wait is over."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from conf.settings import Settings
from contract.results import RISING_KEY, TRENDING_KEY
from contract.topics import RISING_POSTS, TRENDING_POSTS
from feeds import trending_feed
from feeds.records import Record
from feeds.trending_feed import TrendingFeed
from service.app import build_app
from tests.feeds.samples import ranking
from tests.feeds.serving import served

READ = {"posts": {"0": 8}, "likes": {"2": 5}}
KEYS = {TRENDING_POSTS: TRENDING_KEY, RISING_POSTS: RISING_KEY}


def made(topic: str, generated_at: str, seen: dict[str, Any]) -> Record:
    return replace(ranking(generated_at, "p1", topic=topic, key=KEYS[topic]), seen=json.dumps(seen).encode())


@contextmanager
def feed_of(tmp_path: Path, wait_seconds: float) -> Iterator[tuple[TrendingFeed, httpx2.Client]]:
    settings = Settings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:1", wait_seconds=wait_seconds)
    app = build_app([trending_feed.SERVICE], settings)
    with served(app) as url, httpx2.Client(base_url=url, trust_env=False, timeout=30) as http:
        app.state.trending_feed.view.touch()
        yield app.state.trending_feed, http


@pytest.mark.parametrize(
    ("route", "seen", "token", "is_there"),
    [
        ("trending", READ, "likes-2-4-p1", True),
        ("trending", READ, "likes-2-5-p1", False),
        ("trending", READ, "likes-1-0-p1", False),
        ("trending", READ, "comments-2-0-p1", False),
        ("trending", READ, "posts-0-7-p1", True),
        ("trending", READ, "posts-0-8-p1", False),
        ("rising", READ, "posts-0-7-p1", True),
        ("rising", {**READ, "births": {"0": 8}}, "posts-0-7-p1", True),
        pytest.param("rising", {**READ, "births": {"0": 3}}, "posts-0-7-p1", False, id="not yet a birth"),
        ("rising", {**READ, "births": {"0": 3}}, "posts-0-2-p1", True),
        ("rising", {**READ, "births": {"0": 3}}, "likes-2-4-p1", True),
    ],
)
def test_a_ranking_says_whether_a_fact_had_been_read(
    tmp_path: Path, route: str, seen: dict[str, Any], token: str, is_there: bool
) -> None:
    with feed_of(tmp_path, wait_seconds=0.1) as (feed, http):
        feed.apply([made(f"{route}_posts", "2026-11-20T14:00:00.000Z", seen)], {})
        answer = http.get(f"/{route}?after={token}")
    assert answer.headers["X-Caught-Up"] == ("true" if is_there else "false")
    assert [post["post_id"] for post in answer.json()["posts"]] == ["p1"]


@pytest.mark.parametrize("topic", KEYS)
def test_a_reader_waits_for_the_ranking_that_has_it(tmp_path: Path, topic: str) -> None:
    with feed_of(tmp_path, wait_seconds=20) as (feed, http):
        feed.apply([made(topic, "2026-11-20T14:00:00.000Z", READ)], {})
        newer = made(topic, "2026-11-20T14:00:05.000Z", {**READ, "likes": {"2": 6}})
        writer = threading.Timer(0.2, lambda: feed.apply([newer], {}))
        writer.start()
        answer = http.get(f"/{topic.removesuffix('_posts')}?after=likes-2-5-p1")
        writer.join()
    assert answer.headers["X-Caught-Up"] == "true"
    assert answer.json()["generated_at"] == "2026-11-20T14:00:05.000Z"

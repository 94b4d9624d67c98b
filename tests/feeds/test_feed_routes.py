"""The routes of both feeds over a real server, while no broker answers: what is in the view is served."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import AsyncMock

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from conf.settings import Settings
from contract.facts import parse_time
from feeds import refresh_feed, trending_feed
from feeds.metrics import UNUSABLE
from feeds.records import Record
from feeds.refresh_feed import RefreshFeed
from feeds.trending_feed import TrendingFeed
from service.app import build_app
from tests.feeds.samples import body, ranking, row, tombstone
from tests.feeds.serving import event_stream, served, wait_for


class Refresh:
    """The refresh feed's app; batches come from the test instead of from Kafka."""

    def __init__(self, app: FastAPI, url: str) -> None:
        self.url = url
        self.feed: RefreshFeed = app.state.refresh_feed
        self.feed.view.touch()
        self.feed.consumer.caught_up = True
        self.http = httpx2.Client(base_url=url, trust_env=False, timeout=20)

    def take(self, *records: Record) -> None:
        self.feed.apply(records, {("posts_with_counts", 0): 1})


def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, kafka_bootstrap="127.0.0.1:1", wait_seconds=0.5)


@pytest.fixture
def refresh(tmp_path: Path) -> Iterator[Refresh]:
    app = build_app([refresh_feed.SERVICE], settings(tmp_path))
    with served(app) as url:
        here = Refresh(app, url)
        yield here
        here.http.close()


@pytest.fixture
def trending(tmp_path: Path) -> Iterator[tuple[TrendingFeed, str]]:
    app = build_app([trending_feed.SERVICE], settings(tmp_path))
    with served(app) as url:
        app.state.trending_feed.view.touch()
        app.state.trending_feed.consumer.caught_up = True
        yield app.state.trending_feed, url


def test_a_page_names_the_next_one(refresh: Refresh) -> None:
    refresh.take(*(row(f"p{n}", created_at=f"2026-11-20T14:00:0{n}.000Z") for n in range(5)))
    seen, cursor = [], None
    while True:
        page = refresh.http.get("/feed", params={"limit": 2, **({"before": cursor} if cursor else {})}).json()
        seen += [post["post_id"] for post in page["posts"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["p4", "p3", "p2", "p1", "p0"]
    assert set(page) == {"posts", "next", "as_of", "stream_id"}
    assert parse_time(page["as_of"])


def test_a_post_has_the_fields_of_the_contract_exactly(refresh: Refresh) -> None:
    refresh.take(row("p1", 4, caption='"<b>"\u2028', extra="not in the contract"))
    assert refresh.http.get("/posts/p1").json() == body("p1", 4, caption='"<b>"\u2028')


def test_a_deleted_post_is_gone_from_everywhere(refresh: Refresh) -> None:
    refresh.take(row("p1"), row("p2"))
    refresh.take(tombstone("p1"))
    assert refresh.http.get("/posts/p1").status_code == 404
    assert [post["post_id"] for post in refresh.http.get("/feed").json()["posts"]] == ["p2"]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "limit=x", "before=x", "before=%00", "before=YXxi"),
        *("after=x", "after=x-0-0-p1", "after=likes-x-0-p1", "after=likes-0-0-%20"),
        "after=posts_with_counts-0-0-p1",
    ],
)
def test_a_wrong_query_is_refused(refresh: Refresh, query: str) -> None:
    assert refresh.http.get(f"/feed?{query}").status_code == 422


def test_an_empty_query_is_none(refresh: Refresh) -> None:
    refresh.take(*(row(f"p{number:02}") for number in range(30)))
    posts = refresh.http.get("/feed").json()["posts"]
    assert len(posts) == 20
    assert refresh.http.get("/feed?limit=&before=&after=").json()["posts"] == posts
    assert "X-Caught-Up" not in refresh.http.get("/posts/p01?after=").headers


def test_one_reads_ones_own_writes(refresh: Refresh) -> None:
    refresh.take(row("p1", 1, {"posts": (0, 3)}))
    answer = refresh.http.get("/posts/p1?after=posts-0-3-p1")
    assert answer.headers["X-Caught-Up"] == "true"
    late = refresh.http.get("/posts/p1?after=likes-2-7-p1")
    assert late.headers["X-Caught-Up"] == "false"
    assert late.json()["version"] == 1


def test_a_reader_waits_until_the_write_arrives(refresh: Refresh, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = refresh.feed.settings.model_copy(update={"wait_seconds": 20})
    monkeypatch.setattr(refresh.feed, "settings", patient)
    writer = threading.Timer(0.2, lambda: refresh.take(row("p1", 2, {"likes": (2, 7)})))
    writer.start()
    answer = refresh.http.get("/feed?after=likes-2-7-p1")
    writer.join()
    assert answer.headers["X-Caught-Up"] == "true"
    assert answer.json()["posts"][0]["version"] == 2


def test_who_comes_when_too_many_wait_is_answered_at_once(refresh: Refresh, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = refresh.feed.settings.model_copy(update={"wait_seconds": 60})
    monkeypatch.setattr(refresh.feed, "settings", patient)
    monkeypatch.setattr(refresh.feed.waiters, "_most", 0)
    refresh.take(row("p1", 1))
    assert refresh.http.get("/feed?after=likes-2-7-p1").headers["X-Caught-Up"] == "false"


def test_a_deletion_is_visible_to_the_one_who_deleted(refresh: Refresh) -> None:
    refresh.take(row("p1", 1, {"posts": (0, 3)}), tombstone("p1", {"posts": (0, 4)}))
    answer = refresh.http.get("/posts/p1?after=posts-0-4-p1")
    assert (answer.status_code, answer.headers["X-Caught-Up"]) == (404, "true")


def test_a_stream_goes_on_after_the_page(refresh: Refresh) -> None:
    refresh.take(row("p1"))
    stream_id = refresh.http.get("/feed").json()["stream_id"]
    refresh.take(row("p1", 2), row("p2"))
    refresh.take(tombstone("p2"))
    with event_stream(f"{refresh.url}/feed/stream", params={"last_event_id": stream_id, "live": "1"}) as events:
        changed, deleted, live = next(events), next(events), next(events)
        assert (changed.event, changed.data) == ("post", body("p1", 2))
        assert (deleted.event, deleted.data) == ("deleted", {"post_id": "p2"})
        assert (live.event, live.data, live.id) == ("live", {}, refresh.feed.view.stream_id())
        refresh.take(row("p3"))
        assert next(events).data == body("p3")


def test_a_browser_that_reconnects_goes_on_after_its_last_event(refresh: Refresh) -> None:
    with event_stream(f"{refresh.url}/feed/stream") as events:
        next(events)
        refresh.take(row("p1"))
        last = next(events).id
    assert last
    refresh.take(row("p1", 2))
    stale = refresh.feed.view.epoch + "-0"
    query, header = {"last_event_id": stale}, {"Last-Event-ID": last}
    with event_stream(f"{refresh.url}/feed/stream", params=query, headers=header) as events:
        assert next(events).data["version"] == 2


@pytest.mark.parametrize("last", ["other-1", "garbage", "-"])
def test_an_id_of_another_store_resets_with_the_newest_page(refresh: Refresh, last: str) -> None:
    refresh.take(*(row(f"p{n}", created_at=f"2026-11-20T14:00:{n}.000Z") for n in range(10, 40)))
    page = refresh.http.get("/feed").json()
    with event_stream(f"{refresh.url}/feed/stream?live=1", headers={"Last-Event-ID": last}) as events:
        reset = next(events)
        assert (reset.event, reset.data, reset.id) == ("reset", page, refresh.feed.view.stream_id())
        assert next(events).event == "live"
        refresh.take(row("p1"))
        assert next(events).event == "post"


def test_a_rebuild_resets_open_streams(refresh: Refresh) -> None:
    with event_stream(f"{refresh.url}/feed/stream") as events:
        before = next(events).id
        refresh.feed.view.rebuild("the test says so")
        reset = next(events)
        assert (reset.event, reset.data["posts"]) == ("reset", [])
        assert reset.id != before


@pytest.mark.parametrize("path", ["feed", "posts/p1", "posts/p1/explain", "feed/stream"])
def test_a_feed_tells_nothing_of_a_part_while_it_is_built(refresh: Refresh, path: str) -> None:
    refresh.feed.view.rebuild("the test says so")
    refresh.take(row("p1"))
    answer = refresh.http.get(f"/{path}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "the view of posts_with_counts" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["feed", "posts/p1"])
def test_nor_to_one_who_waited_when_it_began_to_be_built(
    refresh: Refresh, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        refresh.feed.waiters, "until", AsyncMock(side_effect=lambda *_: refresh.feed.view.rebuild("so"))
    )
    answer = refresh.http.get(f"/{path}?after=likes-2-7-p1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("more", [1, 1_000])
def test_a_stream_ends_with_its_connection_whatever_was_asked_for_behind_it(refresh: Refresh, more: int) -> None:
    def streams() -> float:
        return REGISTRY.get_sample_value("msm_feed_stream_clients", {"feed": "refresh"}) or 0

    before = streams()
    host, port = refresh.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall(b"GET /feed/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")
        wait_for(lambda: streams() == before + 1)
        sock.sendall(b"GET /feed HTTP/1.1\r\nHost: localhost\r\n\r\n" * more)
        if more > 1:
            with suppress(ConnectionError):
                while sock.recv(65_536):
                    pass
    wait_for(lambda: streams() == before)


@pytest.mark.parametrize("path", ["trending", "rising", "trending/stream"])
def test_rankings_neither(trending: tuple[TrendingFeed, str], path: str) -> None:
    feed, url = trending
    feed.view.rebuild("the test says so")
    answer = httpx2.get(f"{url}/{path}", trust_env=False, timeout=30)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_without_a_broker_the_feed_says_so_and_still_answers(refresh: Refresh) -> None:
    health = refresh.http.get("/healthz")
    assert health.status_code == 503
    assert "posts_with_counts" in health.json()["services"]["refresh_feed"]
    assert refresh.http.get("/feed").status_code == 200


def test_a_view_that_was_whole_is_ready_while_its_broker_is_away(refresh: Refresh) -> None:
    assert refresh.http.get("/readyz").status_code == 200
    refresh.feed.consumer.caught_up = False
    answer = refresh.http.get("/readyz")
    assert answer.status_code == 503
    assert "posts_with_counts" in answer.json()["services"]["refresh_feed"]


def test_rankings_that_were_read_are_ready_while_their_broker_is_away(trending: tuple[TrendingFeed, str]) -> None:
    feed, url = trending
    assert httpx2.get(f"{url}/readyz", trust_env=False, timeout=30).status_code == 200
    feed.consumer.caught_up = False
    assert httpx2.get(f"{url}/readyz", trust_env=False, timeout=30).status_code == 503


def test_a_feed_tells_from_its_start_what_an_alert_counts(tmp_path: Path) -> None:
    UNUSABLE.clear()
    with served(build_app([trending_feed.SERVICE], settings(tmp_path))) as url:
        told = httpx2.get(f"{url}/metrics", trust_env=False, timeout=30).text
    for topic in trending_feed.EVENTS:
        assert f'msm_feed_records_unusable_total{{topic="{topic}"}} 0.0' in told
        assert f'msm_feed_caught_up{{topic="{topic}"}} 0.0' in told


def test_there_is_an_empty_ranking_before_the_first(trending: tuple[TrendingFeed, str]) -> None:
    answer = httpx2.get(f"{trending[1]}/trending", trust_env=False, timeout=30).json()
    assert answer["posts"] == []
    assert set(answer) == {"window_start", "window_end", "generated_at", "posts"}


def test_the_last_ranking_rules_also_where_the_clock_was_set_back(trending: tuple[TrendingFeed, str]) -> None:
    feed, url = trending
    feed.apply([ranking("2026-11-20T15:00:05.000Z", "p1")], {})
    with event_stream(f"{url}/trending/stream") as events:
        next(events), next(events)
        feed.apply([ranking("2026-11-20T14:00:00.000Z", "p2")], {})
        answer = httpx2.get(f"{url}/trending", trust_env=False, timeout=30).json()
        assert [post["post_id"] for post in answer["posts"]] == ["p2"]
        assert next(events).data == answer


def test_rankings_are_streamed_whole_and_at_once(trending: tuple[TrendingFeed, str]) -> None:
    feed, url = trending
    feed.apply([ranking("2026-11-20T14:00:00.000Z", "p1")], {})
    with event_stream(f"{url}/trending/stream?live=1") as events:
        assert [next(events).event for _ in range(3)] == ["trending", "rising", "live"]
        feed.apply([ranking("2026-11-20T14:00:05.000Z", "p2", topic="rising_posts", key="first_hour")], {})
        third = next(events)
        assert (third.event, third.data["posts"][0]["post_id"]) == ("rising", "p2")

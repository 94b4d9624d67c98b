"""Both feeds on a real broker: restarts, lost and damaged stores, topics made anew, a broker that goes away."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from prometheus_client import REGISTRY

from conf.settings import Settings
from contract.topics import POSTS_WITH_COUNTS
from feeds import refresh_feed, trending_feed
from feeds.records import Record
from runtime.broker import embedded_broker
from runtime.topics import ensure_topics
from service.app import build_app
from tests.feeds.samples import body, ranking, record, row, tombstone
from tests.feeds.serving import event_stream, free_ports, served, wait_for

pytestmark = [
    pytest.mark.kafka,
    # kafka-python leaves the sockets of refused connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class World:
    """A broker, and what is written to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def write(self, *records: Record) -> None:
        """Write to Kafka, and wait for its acknowledgement."""
        producer = KafkaProducer(bootstrap_servers=self.settings.bootstrap, enable_idempotence=True)
        sent = [
            producer.send(
                one.topic,
                key=one.key,
                value=one.value,
                headers=[("seen", one.seen)] if one.seen else [],
                partition=one.partition,
            )
            for one in records
        ]
        for future in sent:
            future.get(20)
        producer.close()

    def make_anew(self, topic: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.settings.bootstrap)
        admin.delete_topics([topic])
        wait_for(lambda: topic not in admin.list_topics())
        admin.close()
        wait_for(lambda: topic in ensure_topics(self.settings))

    @contextmanager
    def feed(self) -> Iterator[httpx2.Client]:
        """The refresh feed's service, once its view has caught up."""
        with (
            served(build_app([refresh_feed.SERVICE], self.settings)) as url,
            httpx2.Client(base_url=url, trust_env=False, timeout=20) as client,
        ):
            wait_for(lambda: is_well(client))
            yield client

    @property
    def store(self) -> Path:
        return self.settings.feeds_dir / "refresh_feed.sqlite"


def is_well(client: httpx2.Client) -> bool:
    return client.get("/healthz").status_code == 200


def newest(client: httpx2.Client) -> dict[str, Any]:
    """The newest page, once the view is whole."""
    answers = []

    def is_whole() -> bool:
        answers.append(client.get("/feed"))
        return answers[-1].status_code != 503

    wait_for(is_whole)
    page: dict[str, Any] = answers[-1].json()
    return page


def posts(client: httpx2.Client) -> dict[str, int]:
    return {post["post_id"]: post["version"] for post in newest(client)["posts"]}


def epoch(client: httpx2.Client) -> str:
    return str(newest(client)["stream_id"].split("-")[0])


@pytest.fixture
def world(kafka: Settings, tmp_path: Path) -> World:
    """Nothing is written, and no feed has a store."""
    world = World(kafka.model_copy(update={"data_dir": tmp_path, "wait_seconds": 20}))
    world.make_anew(POSTS_WITH_COUNTS)
    return world


def test_what_is_written_is_shown_and_a_restart_goes_on(world: World) -> None:
    world.write(row("p1", 1), row("p2", 1), row("p1", 2))
    with world.feed() as client:
        wait_for(lambda: posts(client) == {"p1": 2, "p2": 1})
        before = epoch(client)
    world.write(row("p3", 1), row("p1", 2), tombstone("p2"))
    with world.feed() as client:
        assert posts(client) == {"p1": 2, "p3": 1}
        assert epoch(client) == before


def test_garbage_is_passed_over_and_counted(world: World) -> None:
    before = REGISTRY.get_sample_value("msm_feed_records_unusable_total", {"topic": POSTS_WITH_COUNTS}) or 0
    world.write(row("p1"), record("p1", b"\xff"), record("p1", b"{}"), record("not an id", None), row("p2"))
    with world.feed() as client:
        assert posts(client) == {"p1": 1, "p2": 1}
        counted = f'msm_feed_records_unusable_total{{topic="{POSTS_WITH_COUNTS}"}} '
        (line,) = (line for line in client.get("/metrics").text.splitlines() if line.startswith(counted))
        assert float(line.removeprefix(counted)) == before + 3


@pytest.mark.parametrize("damage", ["lost", "cut", "text"])
def test_a_lost_or_damaged_store_is_rebuilt_and_old_streams_reset(world: World, damage: str) -> None:
    world.write(row("p1", 3), row("p2"), tombstone("p2"))
    with world.feed() as client:
        last = client.get("/feed").json()["stream_id"]
    if damage == "lost":
        shutil.rmtree(world.settings.feeds_dir)
    else:
        world.store.write_bytes(world.store.read_bytes()[:5_000] if damage == "cut" else b"text " * 2_000)
    with world.feed() as client:
        assert posts(client) == {"p1": 3}
        with event_stream(f"{client.base_url}/feed/stream", headers={"Last-Event-ID": last}) as events:
            assert next(events).event == "reset"


def test_a_store_that_is_lost_while_it_is_used_is_rebuilt(world: World) -> None:
    world.write(row("p1", 3))
    with world.feed() as client:
        before = epoch(client)
        world.store.unlink()
        wait_for(lambda: epoch(client) != before and posts(client) == {"p1": 3})


@pytest.mark.parametrize("while_running", [True, False])
def test_a_topic_that_was_made_anew_is_read_from_its_start(world: World, while_running: bool) -> None:
    world.write(*(row(f"p{number}") for number in range(5)))
    with world.feed() as client:
        if while_running:
            world.make_anew(POSTS_WITH_COUNTS)
            world.write(*(row(f"q{number}") for number in range(7)))
            wait_for(lambda: set(posts(client)) == {f"q{number}" for number in range(7)}, 60)
    if not while_running:
        world.make_anew(POSTS_WITH_COUNTS)
        world.write(*(row(f"q{number}") for number in range(7)))
        with world.feed() as client:
            assert set(posts(client)) == {f"q{number}" for number in range(7)}


def test_one_waits_for_ones_own_write(world: World) -> None:
    with world.feed() as client:
        world.write(row("p1", 1, {"posts": (2, 9)}))
        created = client.get("/posts/p1?after=posts-2-9-p1")
        assert (created.status_code, created.headers["X-Caught-Up"]) == (200, "true")
        world.write(tombstone("p1", {"posts": (2, 10)}))
        deleted = client.get("/posts/p1?after=posts-2-10-p1")
        assert (deleted.status_code, deleted.headers["X-Caught-Up"]) == (404, "true")


def test_changes_are_streamed_as_they_are_written(world: World) -> None:
    with world.feed() as client, event_stream(f"{client.base_url}/feed/stream") as events:
        next(events)
        world.write(row("p1"))
        assert next(events).data == body("p1")
        world.write(tombstone("p1"))
        assert next(events).data == {"post_id": "p1"}


def test_the_feed_outlives_its_broker(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka_port=free_ports(2), wait_seconds=20)
    with embedded_broker(settings):
        ensure_topics(settings)
        world = World(settings)
        world.write(row("p1"))
    with (
        served(build_app([refresh_feed.SERVICE], settings)) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        assert not is_well(client)
        with embedded_broker(settings):
            wait_for(lambda: is_well(client), 30)
            assert posts(client) == {"p1": 1}
        wait_for(lambda: "does not answer" in client.get("/healthz").text, 30)
        assert posts(client) == {"p1": 1}
        with embedded_broker(settings):
            world.write(row("p2"))
            wait_for(lambda: is_well(client) and posts(client) == {"p1": 1, "p2": 1}, 60)


def test_both_rankings_are_shown_and_survive_a_restart(world: World) -> None:
    world.write(
        ranking("2026-11-20T14:00:00.000Z", "p1"),
        ranking("2026-11-20T14:00:00.000Z", "p2", topic="rising_posts", key="first_hour"),
    )
    for _ in range(2):
        with (
            served(build_app([trending_feed.SERVICE], world.settings)) as url,
            httpx2.Client(base_url=url, trust_env=False, timeout=20) as client,
        ):
            wait_for(lambda client=client: is_well(client))  # type: ignore[misc]
            assert client.get("/trending").json()["posts"][0]["post_id"] == "p1"
            assert client.get("/rising").json()["posts"][0]["post_id"] == "p2"

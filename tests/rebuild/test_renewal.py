"""Old files go while new ones come, and are never joined with them."""

from contextlib import closing

import pytest
from kafka import KafkaProducer

from conf.settings import Settings
from contract.topics import RESULT_TOPICS, TRENDING_POSTS
from jobs.offsets import ends
from runtime import broker as runtime_broker
from runtime import renewal
from runtime.admin import admin_client
from runtime.processes import wait_until


@pytest.fixture
def eager_cleaner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that compacts whenever it may, and files that each record begins anew."""
    eager = "log.cleaner.backoff.ms=50\nlog.initial.task.delay.ms=0\n"
    monkeypatch.setattr(runtime_broker, "PROPERTIES", runtime_broker.PROPERTIES + eager)
    monkeypatch.setattr(renewal, "ROLL_MS", 1)


@pytest.mark.kafka
@pytest.mark.usefixtures("eager_cleaner")
def test_old_files_are_not_joined_with_new_ones(request: pytest.FixtureRequest) -> None:
    settings: Settings = request.getfixturevalue("broker")

    def publish(value: bytes) -> None:
        with KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
            producer.send(TRENDING_POSTS, key=b"past_hour", value=value).get(30)

    publish(b"old")
    with renewal.new_files(settings, RESULT_TOPICS):
        old = ends(settings, RESULT_TOPICS)
        for number in range(3):
            publish(b"new %d" % number)
        renewal.delete_before(settings, old)
        kept = renewal.wait_until_swept(settings, old)
        left = renewal._bases(settings, f"{TRENDING_POSTS}-0")
    assert kept == []
    assert min(left) == old[TRENDING_POSTS][0] == 1
    assert renewal.sweep_seconds(settings) == 3 + renewal.SWEEP_SECONDS


@pytest.mark.kafka
def test_topics_keep_settings_of_their_own_and_lose_those_of_a_run_that_was_killed(
    broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "ROLL_MS", 1)
    topics = ["likes", "posts"]
    with closing(admin_client(broker)) as admin:

        def become(likes: dict[str, str], posts: dict[str, str]) -> None:
            """The controller answers first, and then a broker knows."""
            wanted = {"likes": likes, "posts": posts}
            wait_until(lambda: renewal._told(admin, topics) == wanted, 60, lambda: str(renewal._told(admin, topics)))

        as_made = renewal._told(admin, topics)
        theirs = {"retention.ms": "604800000", "segment.ms": "86400000"}
        left = {"retention.ms": "-1", "segment.ms": "1", "cleanup.policy": "delete"}
        renewal._alter(admin, {"likes": theirs, "posts": left})
        become({**as_made["likes"], **theirs}, {**as_made["posts"], **left})
        with renewal.new_files(broker, topics):
            become(*({**as_made[topic], **left} for topic in topics))
        become({**as_made["likes"], **theirs}, as_made["posts"])

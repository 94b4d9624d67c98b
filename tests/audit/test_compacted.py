"""Compaction takes rows of the result topic while an audit is under way: that is no drift."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from pyspark.sql import SparkSession

from audit import job, offsets
from audit.job import audit
from audit.report import Report
from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS
from jobs import archive, posts_with_counts
from runtime import broker as runtime_broker
from runtime.admin import admin_client
from runtime.processes import wait_until
from tests.brokers import running_broker
from tests.feeds.serving import free_ports
from tests.rebuild.queries import run_once
from tests.stack.hostile import fact, read, write

pytestmark = [pytest.mark.spark, pytest.mark.kafka]


@pytest.fixture(scope="module")
def stack(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Two posts, counted and archived; the broker compacts whenever it may, and each record begins a file."""
    eager = "log.cleaner.backoff.ms=50\nlog.initial.task.delay.ms=0\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime_broker, "PROPERTIES", runtime_broker.PROPERTIES + eager)
        with running_broker(tmp_path_factory.mktemp("compacted"), http_port=free_ports(1)) as settings:
            each_its_file = {"segment.ms": "1", "min.cleanable.dirty.ratio": "0"}
            with closing(admin_client(settings)) as admin:
                admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, POSTS_WITH_COUNTS, each_its_file)])
            posts = [fact("post_created", "ada", post, image_url="/a.jpg", caption=post) for post in ("p1", "p2")]
            write(settings, [*posts, fact("post_liked", "bob", "p1")])
            run_once(spark, settings, posts_with_counts, archive)
            yield settings.counting_in_batches()


def compact(settings: Settings) -> None:
    """Write p1's row again, as after a fault, until Kafka has taken the one that was there."""
    old = [record for record in read(settings, POSTS_WITH_COUNTS) if record.key == b"p1"]

    def is_gone() -> bool:
        with KafkaProducer(bootstrap_servers=settings.bootstrap, acks="all") as producer:
            last = old[-1]
            producer.send(POSTS_WITH_COUNTS, key=last.key, value=last.value, headers=last.headers).get(30)
        there = {record.offset for record in read(settings, POSTS_WITH_COUNTS) if record.key == b"p1"}
        return not there & {record.offset for record in old}

    wait_until(is_gone, 120, lambda: "nothing is compacted")


def verdict(report: Report) -> tuple[int, int, Any]:
    return report.as_json()["drift"], report.unsettled, report.first


def test_a_post_whose_row_went_between_the_end_and_the_read_is_judged_the_next_time(
    spark: SparkSession, stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_kafka, looked = offsets.in_kafka, list[tuple[str, ...]]()

    def compacted_then(settings: Settings, *topics: str) -> Any:
        if topics == FACT_TOPICS and topics not in looked:  # the topic's end is known, its rows are not read
            compact(settings)
        looked.append(topics)
        return in_kafka(settings, *topics)

    monkeypatch.setattr(offsets, "in_kafka", compacted_then)
    assert verdict(audit(spark.newSession(), stack, from_kafka=False)) == (0, 1, [])
    assert verdict(audit(spark.newSession(), stack, from_kafka=False)) == (0, 0, [])


def test_a_row_that_goes_while_the_archive_is_waited_for_was_read(
    spark: SparkSession, stack: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = job.facts_up_to

    def compacted_then(spark: SparkSession, settings: Settings, *others: Any) -> Any:
        compact(settings)
        return wait(spark, settings, *others)

    monkeypatch.setattr(job, "facts_up_to", compacted_then)
    assert verdict(audit(spark.newSession(), stack, from_kafka=False)) == (0, 0, [])

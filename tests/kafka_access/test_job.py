"""A job counts on a secured broker, started as the stack does it, and gives nobody its password."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

from conf import REPOSITORY
from conf.kafka import password, python_options
from conf.settings import Settings
from contract.facts import PostCreated, PostLiked, format_time
from contract.principals import ADMIN, PRINCIPALS
from jobs.harness import now
from jobs.submit import COMPILES_LITTLE, job_env, spark_submit
from producers.publisher import Publisher, Record
from runtime.parts import job_metrics
from runtime.processes import Process, wait_until
from runtime.scan import found_in

pytestmark = pytest.mark.kafka
JOB = "posts_with_counts"


@pytest.fixture(scope="module")
def job(cluster: Settings) -> Iterator[Process]:
    """With all that Spark tells about itself: its page, and the log of its events."""
    (cluster.data_dir / "events").mkdir()
    told = {
        "spark.ui.enabled": "true",
        "spark.ui.port": str(cluster.http_port),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": (cluster.data_dir / "events").as_uri(),
    }
    options = [word for name, value in told.items() for word in ("--conf", f"{name}={value}")]
    own = {"MSM_KAFKA_SECURITY": "scram", "MSM_KAFKA_PORT": str(cluster.kafka_port)}
    env = {**job_env(cluster), **own, "JAVA_TOOL_OPTIONS": COMPILES_LITTLE}
    process = Process.start(JOB, spark_submit(cluster, JOB, *options), cluster.log_dir, env, REPOSITORY)
    try:
        wait_until(lambda: job_metrics(cluster, JOB).get("msm_job_ready") == 1, 600, process.last_words)
        yield process
    finally:
        process.stop()


def publish(cluster: Settings, principal: str, fact: PostCreated | PostLiked) -> None:
    with closing(Publisher(cluster.acting_as(principal), topics=[fact.topic])) as publisher:
        publisher.wait_until_ready(30)
        publisher.acknowledged(publisher.send(Record.of(fact)))


def counts(cluster: Settings) -> Iterator[dict[str, object]]:
    """What the Refresh Feed is given, as it comes."""
    options = python_options(cluster.acting_as("refresh_feed"))
    with closing(KafkaConsumer(**options, consumer_timeout_ms=60_000)) as consumer:
        places = [TopicPartition(JOB, number) for number in consumer.partitions_for_topic(JOB)]
        consumer.assign(places)
        consumer.seek_to_beginning()
        yield from (json.loads(record.value) for record in consumer if record.key != b"k")


def test_a_like_is_counted_by_principals_who_may_do_only_that(cluster: Settings, job: Process) -> None:
    common = {"user_id": "ada", "post_id": "p1", "occurred_at": format_time(now())}
    publish(cluster, "posting", PostCreated(event_id="e1", image_url="/a.jpg", caption="", **common))
    publish(cluster, "likes", PostLiked(event_id="e2", **common))
    assert next(row for row in counts(cluster) if row["post_id"] == "p1" and row["likes"])["likes"] == 1


def passwords(cluster: Settings) -> list[str]:
    return [password(cluster, name) for name in (ADMIN, "keystore", *(principal.name for principal in PRINCIPALS))]


def holds_a_password(cluster: Settings, text: str) -> bool:
    return any(one in text for one in passwords(cluster))


def test_no_password_is_on_a_command_line_or_in_an_environment(cluster: Settings, job: Process) -> None:
    seen = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        told = json.dumps([process.info["cmdline"], process.info["environ"]])
        seen += [told] if str(cluster.data_dir) in told else []
        assert not holds_a_password(cluster, told)
    assert len(seen) >= 3  # the broker, Spark, and the job's driver


def test_no_password_is_on_sparks_pages(cluster: Settings, job: Process) -> None:
    url = f"http://127.0.0.1:{cluster.http_port}"
    application = json.loads(page(f"{url}/api/v1/applications"))[0]["id"]
    sql = page(f"{url}/api/v1/applications/{application}/sql?details=true&planDescription=true")
    assert "MicroBatchScan" in sql  # what was planned with the options is there
    for text in (sql, page(f"{url}/environment/"), page(f"{url}/StreamingQuery/")):
        assert not holds_a_password(cluster, text)


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def test_no_password_is_in_logs_events_checkpoints_or_any_other_file(cluster: Settings, job: Process) -> None:
    assert all(any((cluster.data_dir / name).iterdir()) for name in ("logs", "events", "checkpoints", "kafka"))
    hits = list(found_in(cluster.data_dir, passwords(cluster)))
    assert {word for _, word in hits} == set(passwords(cluster))  # where they are kept
    assert [path for path, _ in hits if cluster.kafka_secrets not in path.parents] == []

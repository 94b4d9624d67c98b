"""Facts that others write straight to the topics, kills of every process, and the same numbers everywhere."""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import psutil
import pytest
from deltalake import DeltaTable
from kafka import KafkaProducer

from conf.settings import Settings
from conf.store import delta_options, lake
from contract.facts import FACT_TOPICS, format_time, parse_time
from jobs.checkpoints import STATES
from jobs.harness import now
from jobs.realtime import PYTHON
from jobs.transforms.ranking import PastHour
from runtime.machine import REALTIME_PYTHON_NEEDED
from runtime.parts import JOBS, job_metrics
from runtime.processes import wait_until
from runtime.stack import running
from tests import reference
from tests.stack.conftest import Stack
from tests.stack.hostile import Fact, as_admin, each_second, hostile_facts, in_topic, read, write

pytestmark = [pytest.mark.stack, pytest.mark.timeout(3600)]
Letter = tuple[str, str, int, int]
"""Why, and which record; one that is written twice is one."""
PATIENCE = 600  # seconds; a machine of two cores restarts three JVMs meanwhile
BROKEN = {
    "not_json": b'{"event_id": "x"} and more',
    "unknown_type": b'{"event_type": "post_shared"}',
    "wrong_topic": b'{"event_type": "post_created"}',
    "missing_field": b'{"event_type": "post_liked", "event_id": "e", "occurred_at": "2026-01-01T00:00:00.000Z"}',
    "bad_field": b'{"event_type": "post_liked", "event_id": "e", "occurred_at": "2026-01-01T00:00:00.000Z", '
    b'"user_id": 7, "post_id": "p"}',
    "from_the_future": b'{"event_type": "post_liked", "event_id": "e", "occurred_at": "2999-01-01T00:00:00.000Z", '
    b'"user_id": "u", "post_id": "p"}',
}


def write_broken(settings: Settings) -> set[Letter]:
    """Each kind of broken record; what dead letters there must be."""
    producer = KafkaProducer(**as_admin(settings), acks="all")
    expected = set[Letter]()
    for reason, value in BROKEN.items():
        at = producer.send("likes", key=b"p", value=value).get(timeout=60)
        expected.add((reason, at.topic, at.partition, at.offset))
    producer.close()
    return expected


def in_lake(settings: Settings) -> dict[str, reference.Post]:
    rows = DeltaTable(settings.lake_dir / "posts_with_counts").to_pyarrow_table().to_pylist()
    mine = [row for row in rows if row["post_id"].startswith("stack-")]
    assert len({row["post_id"] for row in mine}) == len(mine)  # one row a living post
    return {row["post_id"]: reference.Post.of({**row, "created_at": format_time(row["created_at"])}) for row in mine}


def in_feed(url: str) -> dict[str, reference.Post]:
    posts, before = {}, None
    while True:
        asked = {"limit": 100, **({"before": before} if before else {})}
        page = httpx2.get(f"{url}/feed", params=asked, timeout=30).json()
        posts |= {
            post["post_id"]: reference.Post.of(post) for post in page["posts"] if post["post_id"].startswith("stack-")
        }
        before = page["next"]
        if before is None:
            return posts


def places_of_facts(settings: Settings) -> Counter[tuple[str, int, int]]:
    return Counter((r.topic, r.partition, r.offset) for topic in FACT_TOPICS for r in read(settings, topic))


def archived(settings: Settings) -> Counter[tuple[str, int, int]]:
    table = DeltaTable(str(lake(settings) / "events"), storage_options=delta_options(settings))
    rows = table.to_pyarrow_table(columns=["topic", "partition", "offset"]).to_pylist()
    return Counter((row["topic"], row["partition"], row["offset"]) for row in rows)


def dead_letters(settings: Settings) -> set[Letter]:
    letters = [json.loads(record.value) for record in read(settings, "dead_letters")]
    return {(letter["reason"], letter["topic"], letter["partition"], letter["offset"]) for letter in letters}


def ranking(url: str, board: str) -> Any:
    return httpx2.get(f"{url}/{board}", timeout=30).json()


def is_exact(ranking: Any, rules: Callable[..., Any], facts: list[Fact]) -> bool:
    """Whether the ranking is of now, and what the rules say of its own window, which is not nothing."""
    made, end = parse_time(ranking["generated_at"]), parse_time(ranking["window_end"])
    assert (end, parse_time(ranking["window_start"])) == (PastHour.at(made).end, end - timedelta(hours=1))
    is_of_now = timedelta(0) < now() - made < timedelta(minutes=1)
    expected = rules(facts, parse_time(ranking["window_end"]))
    mine = [post for post in ranking["posts"] if post["post_id"].startswith("stack-")]
    return (
        is_of_now
        and bool(expected)
        and expected == [reference.Ranked(p["post_id"], p["likes"], p["comments"], p["score"]) for p in mine]
    )


def eventually(condition: Callable[[], bool], what: str) -> None:
    """A service that was just killed may answer late, or not at all."""

    def holds() -> bool:
        try:
            return condition()
        except httpx2.TransportError:
            return False

    wait_until(holds, PATIENCE, lambda: f"not in {PATIENCE} s: {what}")


def all_ready(stack: Stack) -> bool:
    found = running(stack.settings)
    assert found is not None
    return all(part["ready"] for part in found["parts"].values())


def kill(stack: Stack, part: str) -> None:
    """SIGKILL to the part as the supervisor started it, for a job the JVM; until the supervisor has seen that."""

    def state() -> dict[str, Any]:
        found = running(stack.settings)
        assert found is not None
        return dict(found["parts"][part])

    eventually(lambda: state()["pid"] is not None, f"{part} is started")
    before = state()
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: state()["restarts"] > before["restarts"], f"somebody sees that {part} is dead")


@pytest.mark.skipif(sys.version_info < REALTIME_PYTHON_NEEDED, reason="real time needs a newer Python")
def test_the_counts_job_runs_where_it_can_count_in_real_time(stack: Stack) -> None:
    found = running(stack.settings)
    assert found is not None
    job = psutil.Process(found["parts"]["posts_with_counts"]["pid"])
    assert f"spark.pyspark.python={PYTHON}" in job.cmdline(), "make setup ARGS=--realtime"


def test_numbers_are_exact_everywhere_whatever_is_killed(stack: Stack) -> None:
    facts = hostile_facts(seed=7, number=1_500)
    letters = set[Letter]()
    thirds = [facts[:500], facts[500:1_000], facts[1_000:]]
    killed = [["posts_with_counts", "web"], ["broker"], ["trending_posts", "archive"]]
    for third, victims in zip(thirds, killed, strict=True):
        write(stack.settings, third)
        letters |= write_broken(stack.settings)
        for victim in victims:
            kill(stack, victim)
        eventually(lambda: all_ready(stack), "every part is ready again")
    expected = reference.posts_with_counts(facts)

    eventually(each_second(lambda: in_topic(stack.settings) == expected), "posts_with_counts in Kafka")
    eventually(each_second(lambda: in_feed(stack.url) == expected), "the feed")
    eventually(each_second(lambda: in_lake(stack.settings) == expected), "posts_with_counts in Delta")
    eventually(each_second(lambda: dead_letters(stack.settings) == letters), "dead letters of these records alone")
    for board, rules in (("trending", reference.trending), ("rising", reference.rising)):
        exact = each_second(lambda board=board, rules=rules: is_exact(ranking(stack.url, board), rules, facts))
        eventually(exact, board)


def test_every_record_is_in_the_archive_once(stack: Stack) -> None:
    write(stack.settings, hostile_facts(seed=8, number=50))
    in_kafka = places_of_facts(stack.settings)
    assert in_kafka
    eventually(each_second(lambda: archived(stack.settings) == in_kafka), "events in Delta")
    lies_by_day_and_hour(stack.settings)


def lies_by_day_and_hour(settings: Settings) -> None:
    """The archive by the day on which a record arrived, the panes by the hour from which they are judged."""
    folders = {"events": ["arrived_date"], "engagement_by_minute": ["judged_from"]}
    found = {name: DeltaTable(settings.lake_dir / name) for name in folders}
    assert {name: table.metadata().partition_columns for name, table in found.items()} == folders
    arrived = found["events"].to_pyarrow_table(columns=["arrived_at", "arrived_date"]).to_pylist()
    assert all(row["arrived_date"] == row["arrived_at"].date() for row in arrived)


def test_one_reads_ones_own_writes(stack: Stack) -> None:
    ada, bob = ({"Authorization": f"Bearer {stack.msm('token', user).stdout.strip()}"} for user in ("ada", "bob"))
    with httpx2.Client(base_url=stack.url, timeout=30) as http:
        new = {"image_url": f"{stack.url}/favicon.svg", "caption": "mine"}
        posted = http.post("/posts", json=new, headers=ada).json()
        post = f"/posts/{posted['post_id']}"
        assert after(http, post, posted["token"]).json()["caption"] == "mine"
        liked = http.put(f"{post}/like", headers=bob).json()
        assert after(http, post, liked["token"]).json()["likes"] == 1
        assert http.delete(post, headers=bob).status_code == 403
        gone = http.delete(post, headers=ada).json()
        assert after(http, post, gone["token"]).status_code == 404


def after(http: httpx2.Client, path: str, token: str) -> httpx2.Response:
    """The first answer that knows of the write; one that waited for it in vain says so, and is asked again."""
    answers = list[httpx2.Response]()

    def is_in() -> bool:
        answers.append(http.get(path, params={"after": token}))
        return answers[-1].headers["X-Caught-Up"] == "true"

    eventually(is_in, f"{token} at {path}")
    return answers[-1]


def test_a_second_start_on_the_same_data_says_that_it_runs(stack: Stack) -> None:
    second = stack.msm("up")
    assert second.returncode != 0
    assert "already runs" in second.stderr + second.stdout


def test_the_jobs_tell_prometheus_how_they_are(stack: Stack) -> None:
    status = stack.msm("status")
    assert status.returncode == 0
    assert all(job in status.stdout for job in JOBS)
    for job, queries in STATES.items():
        names = [f'msm_job_batches_total{{query="{query}"}}' for query in queries]
        eventually(
            lambda job=job, names=names: all(job_metrics(stack.settings, job).get(name, 0) > 0 for name in names),
            f"batches of {job}",
        )

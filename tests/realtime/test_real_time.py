"""The counts job in real time: rows at once, and the same numbers as in batches, on the same checkpoint."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from conf import REPOSITORY
from conf.settings import Settings
from contract.facts import PostCreated, PostLiked, format_time, new_event_id
from contract.topics import POSTS_WITH_COUNTS
from jobs import realtime
from jobs.harness import now
from jobs.running import stop_file
from jobs.submit import COMPILES_LITTLE, job_env, spark_submit
from runtime.parts import job_metrics
from runtime.processes import Process, wait_until
from tests import reference
from tests.stack.hostile import Fact, each_second, hostile_facts, in_topic, read, write

IS_MISSING = not realtime.is_set_up() and "CI" not in os.environ
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(IS_MISSING, reason="Spark 4.3 is not there: make setup ARGS=--realtime"),
]
PATIENCE = 600


@contextmanager
def job(settings: Settings, trigger: str) -> Iterator[Process]:
    """The job as the stack starts it, once it has caught up."""
    chosen = settings.model_copy(update={"counts_trigger": trigger})
    env = {**job_env(chosen), "MSM_KAFKA_PORT": str(settings.kafka_port), "JAVA_TOOL_OPTIONS": COMPILES_LITTLE}
    command = spark_submit(chosen, POSTS_WITH_COUNTS)
    process = Process.start(POSTS_WITH_COUNTS, command, settings.log_dir, env, REPOSITORY)
    try:
        wait_until(lambda: is_ready(settings), PATIENCE, process.last_words)
        yield process
    finally:
        if process.exit_code is None:
            stop_file(settings.run_dir, POSTS_WITH_COUNTS).touch()
        process.stop(asked=True)


def is_ready(settings: Settings) -> bool:
    return job_metrics(settings, POSTS_WITH_COUNTS).get("msm_job_ready") == 1


def is_exact(settings: Settings, facts: list[Fact]) -> Callable[[], bool]:
    expected = reference.posts_with_counts(facts)
    return each_second(lambda: in_topic(settings) == expected)


def test_numbers_are_exact_through_kills_and_both_ways_between_batches_and_real_time(kafka: Settings) -> None:
    facts = hostile_facts(seed=11, number=1_000)
    for upto, trigger, is_killed in (
        (250, "micro-batch", True),
        (500, "real-time", True),
        (750, "real-time", False),
        (1_000, "micro-batch", False),
    ):
        with job(kafka, trigger) as process:
            write(kafka, facts[upto - 250 : upto])
            if is_killed:
                process.kill()
                continue
            wait_until(is_exact(kafka, facts[:upto]), PATIENCE, lambda: f"counts differ: {process.last_words()}")
            if trigger == "real-time":
                rows_leave_before_their_batch_ends(kafka, process)


def rows_leave_before_their_batch_ends(settings: Settings, process: Process) -> None:
    """A batch takes five minutes: what it has read is out before it is over; another one, where it just ended."""
    assert any(is_out_before_a_commit(settings, process, f"live-{number}") for number in range(3))


def is_out_before_a_commit(settings: Settings, process: Process, post: str) -> bool:
    common = {"user_id": "ada", "post_id": post, "occurred_at": format_time(now())}
    created = PostCreated(event_id=new_event_id(), image_url="/a.jpg", caption="", **common)
    liked = PostLiked(event_id=new_event_id(), **common)
    commits = settings.checkpoint_dir / POSTS_WITH_COUNTS / "commits"
    before = sorted(path.name for path in commits.iterdir())
    write(settings, [created.model_dump(), liked.model_dump()])

    def is_liked(record: Any) -> bool:
        return bool(record.key == post.encode() and json.loads(record.value)["likes"] == 1)

    is_out = each_second(lambda: any(map(is_liked, read(settings, POSTS_WITH_COUNTS))))
    wait_until(is_out, PATIENCE, process.last_words)
    time.sleep(10)  # a row that left at the end of its batch would be followed by the commit
    return sorted(path.name for path in commits.iterdir()) == before

"""The three jobs on a Spark cluster with all that they keep on an S3 API, as docs/cluster.md says; one is killed."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from deltalake import DeltaTable
from fastapi.testclient import TestClient
from PIL import Image

from conf.settings import Settings
from conf.store import delta_options, lake
from contract.topics import TRENDING_POSTS
from jobs.submit import S3_JARS
from producers import posting
from runtime.parts import JOBS
from runtime.processes import Process, wait_until
from service.app import build_app
from service.auth import issue_token
from tests import reference
from tests.cluster.s3_server import s3_server
from tests.cluster.standalone import standalone, submitted
from tests.stack.hostile import Fact, each_second, hostile_facts, in_topic, read, write
from tests.stack.test_exact import archived, dead_letters, is_exact, places_of_facts, write_broken

pytestmark = pytest.mark.stack
PATIENCE = 600
FACTS = 600
ROOM = ("--executor-memory", "600m", "--total-executor-cores", "1")


@dataclass
class Cluster:
    """A broker, a Spark master with two workers, a bucket, and the jobs that run with them."""

    settings: Settings
    folder: Path
    jobs: dict[str, Process]

    def start(self, name: str) -> None:
        self.jobs[name] = submitted(self.settings, name, self.folder, *ROOM)

    def eventually(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(lambda: self._runs() and condition(), PATIENCE, lambda: f"not in {PATIENCE} s: {what}")

    def _runs(self) -> bool:
        ended = {name: job.last_words() for name, job in self.jobs.items() if job.exit_code is not None}
        assert not ended
        return True


@pytest.fixture(scope="module")
def cluster(kafka: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    assert S3_JARS.exists(), "the jars for S3 are not there: make setup ARGS=--s3"
    folder = tmp_path_factory.mktemp("s3")
    with ExitStack() as stack:
        bucket = stack.enter_context(s3_server(folder))
        spark = stack.enter_context(standalone(folder / "spark", cores=2, memory="2g"))
        own = {"store": f"{bucket}/mine", "spark_master": spark.master, "shuffle_partitions": 2}
        running = Cluster(kafka.model_copy(update=own), folder, {})
        stack.callback(lambda: [job.kill() for job in running.jobs.values()])
        yield running


def trending_is_exact(settings: Settings, facts: list[Fact]) -> bool:
    rankings = [json.loads(one.value) for one in read(settings, TRENDING_POSTS)]
    return bool(rankings) and is_exact(rankings[-1], reference.trending, facts)


def test_numbers_are_exact_though_a_job_is_killed_with_its_state_on_s3(cluster: Cluster) -> None:
    settings, facts = cluster.settings, hostile_facts(seed=11, number=FACTS)
    write(settings, facts[: FACTS // 2])
    letters = write_broken(settings)
    for name in JOBS:
        cluster.start(name)
    first = reference.posts_with_counts(facts[: FACTS // 2])
    cluster.eventually(each_second(lambda: in_topic(settings) == first), "the counts of the first half")

    write(settings, facts[FACTS // 2 :])
    cluster.jobs[JOBS[0]].kill()
    letters |= write_broken(settings)
    cluster.start(JOBS[0])
    expected = reference.posts_with_counts(facts)
    cluster.eventually(each_second(lambda: in_topic(settings) == expected), "posts_with_counts in Kafka")
    in_kafka = places_of_facts(settings)
    at_events = str(lake(settings) / "events")
    cluster.eventually(lambda: DeltaTable.is_deltatable(at_events, delta_options(settings)), "the table of events")
    cluster.eventually(each_second(lambda: archived(settings) == in_kafka), "events in Delta")
    cluster.eventually(each_second(lambda: dead_letters(settings) == letters), "dead letters of these records alone")
    cluster.eventually(each_second(lambda: trending_is_exact(settings, facts)), "trending")
    for name in JOBS:
        (settings.run_dir / f"{name}.stop").touch()
    assert {name: job.popen.wait(PATIENCE) for name, job in cluster.jobs.items()} == dict.fromkeys(JOBS, 0)


def test_a_picture_that_was_uploaded_comes_back(cluster: Cluster) -> None:
    settings, picture = cluster.settings, BytesIO()
    Image.new("RGB", (64, 48), "teal").save(picture, "PNG")
    app = build_app([posting.SERVICE], settings)
    with TestClient(app) as client:
        app.state.publisher.wait_until_ready(timeout=30)
        by = {"Authorization": f"Bearer {issue_token(settings, 'ada', 60)}"}
        posted = client.post("/posts", files={"image": picture.getvalue()}, headers=by)
        assert posted.status_code == 201
        facts = (json.loads(one.value) for one in read(settings, "posts"))
        (address,) = [fact["image_url"] for fact in facts if fact.get("post_id") == posted.json()["post_id"]]
        answer = client.get(address)
        assert client.get(address.replace(address[-68:-60], "0" * 8)).status_code == 404
    assert Image.open(BytesIO(answer.content)).getpixel((0, 0))[:3] == (0, 128, 128)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"

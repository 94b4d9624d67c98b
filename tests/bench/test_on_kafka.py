"""Against a real broker, without Spark: what is written is what is counted, and what is matched was really sent."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench.exact
from bench import facts
from bench.exact import exact, published, recount, wrong_posts
from bench.facts import History
from bench.latency import of_rows
from bench.live import Pace, reading, send
from bench.place import Place, a_place
from bench.rows import publishing
from contract.topics import POSTS_WITH_COUNTS
from jobs.offsets import ends, total
from producers.bulk import BulkWriter
from producers.publisher import Record
from tests.feeds.serving import free_ports

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, ports = tmp_path_factory.mktemp("bench") / "data", free_ports(3)
    with pytest.MonkeyPatch.context() as patch:
        own = {"KAFKA_PORT": ports, "HTTP_PORT": ports + 2, "DATA_DIR": folder, "AUDIT_EVERY_SECONDS": 0}
        for name, value in {**own, "KAFKA_BOOTSTRAP": ""}.items():
            patch.setenv(f"MSM_{name}", str(value))
        for module in (facts, bench.exact):
            patch.setattr(module, "WRITERS", 1)  # each process takes seconds to start
        with a_place(folder) as place:
            yield place
    assert not folder.exists()


def publish(place: Place, rows: dict[str, dict[str, object]]) -> None:
    with publishing(place.settings) as publisher, BulkWriter(publisher) as bulk:
        for post, row in rows.items():
            bulk.write(Record(POSTS_WITH_COUNTS, post.encode(), json.dumps({"post_id": post, **row}).encode()))


def test_counts_that_are_right_pass_and_one_like_too_many_does_not(place: Place) -> None:
    place.empty()
    assert facts.write(place.settings, History(3_000, posts=100)) == 3_000
    assert total(ends(place.settings, ["posts", "likes", "comments"])) == 3_000
    expected = recount(place.settings)
    assert len(expected) >= 95
    assert len(wrong_posts(expected, published(place.settings))) == len(expected)  # nothing is published yet
    publish(place, expected)
    assert wrong_posts(expected, published(place.settings)) == []
    post, row = next(iter(expected.items()))
    publish(place, {post: {**row, "likes": row["likes"] + 1, "version": row["version"] + 1}})
    assert exact(place.settings).value == 1


def test_every_probe_is_read_after_it_was_sent(place: Place) -> None:
    place.empty()
    with reading(place, "reader", "--topic", "likes") as likes:
        traffic = send(place, Pace(200, 1, 2), "test")
        late = of_rows(traffic, likes)
    assert len(traffic.sent) == 60
    assert (
        30 < len(late) == sum(traffic.is_measured(one) for one in traffic.sent) < 60
    )  # without those of the first second
    assert all(seconds > 0 for seconds in late)
    assert [one.at for one in traffic.sent] == sorted(one.at for one in traffic.sent)


def test_a_cluster_with_facts_of_others_is_left_alone(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.empty()
    facts.write(place.settings, History(10, posts=10))
    monkeypatch.setenv("MSM_KAFKA_BOOTSTRAP", place.settings.bootstrap)
    monkeypatch.setenv("MSM_DATA_DIR", str(tmp_path))
    with pytest.raises(SystemExit, match="hold 10 facts"), a_place(tmp_path / "other"):
        pytest.fail("it went on")
    assert total(ends(place.settings, ["posts"])) == 10


def test_what_a_failed_measure_started_is_gone_at_once(place: Place) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        place.running_other("stubborn", ("sh", "-c", "trap '' TERM; sleep 60")) as one,
    ):
        raise KeyboardInterrupt
    assert one.exit_code == -9

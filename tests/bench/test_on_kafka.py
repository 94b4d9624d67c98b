"""Against a real broker, without Spark: what is written is what is counted, and what is matched was really sent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import facts
from bench.facts import History
from bench.latency import of_rows
from bench.live import Pace, reading, send
from bench.place import Place, a_place
from bench.rows import publisher_speed, publishing, row
from jobs.offsets import ends, total
from tests.feeds.serving import free_ports

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, ports = tmp_path_factory.mktemp("bench") / "data", free_ports(3)
    with pytest.MonkeyPatch.context() as patch:
        own = {"KAFKA_PORT": ports, "HTTP_PORT": ports + 2, "DATA_DIR": folder, "AUDIT_EVERY_SECONDS": 0}
        for name, value in {**own, "KAFKA_BOOTSTRAP": ""}.items():
            patch.setenv(f"MSM_{name}", str(value))
        patch.setattr(facts, "WRITERS", 1)  # each process takes seconds to start
        with a_place(folder, folder.with_name("report")) as place:
            yield place
    assert not folder.exists()


def test_the_history_is_written_whole(place: Place) -> None:
    place.empty()
    assert facts.write(place.settings, History(3_000, posts=100)) == 3_000
    assert total(ends(place.settings, ["posts", "likes", "comments"])) == 3_000


def test_every_probe_is_read_after_it_was_sent(place: Place) -> None:
    place.empty()
    with reading(place, "reader", "--topic", "likes") as likes:
        traffic = send(place, Pace(200, 1, 2), "test")
        late = of_rows(traffic, likes)
    assert 50 < len(traffic.sent) <= 60
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
    with pytest.raises(SystemExit, match=r"has records in posts \(10\), and"), a_place(tmp_path / "other", tmp_path):
        pytest.fail("it went on")
    assert total(ends(place.settings, ["posts"])) == 10


def test_a_cluster_with_results_of_others_alone_is_left_alone_too(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.empty()
    with publishing(place.settings) as publisher:
        publisher.acknowledged(publisher.send(row(1, 1)))
    monkeypatch.setenv("MSM_KAFKA_BOOTSTRAP", place.settings.bootstrap)
    monkeypatch.setenv("MSM_DATA_DIR", str(tmp_path))
    with (
        pytest.raises(SystemExit, match=r"has records in posts_with_counts \(1\), and"),
        a_place(tmp_path / "other", tmp_path),
    ):
        pytest.fail("it went on")
    assert total(ends(place.settings, ["posts_with_counts"])) == 1


def test_the_publisher_is_measured_beside_the_library(place: Place) -> None:
    place.empty()
    assert [one.name for one in publisher_speed(place.settings, 100)] == ["publisher.bare", "publisher.records"]
    assert total(ends(place.settings, ["posts_with_counts"])) == 600


def test_what_a_failed_measure_started_is_gone_at_once(place: Place) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        place.running_other("stubborn", ("sh", "-c", "trap '' TERM; sleep 60")) as one,
    ):
        raise KeyboardInterrupt
    assert one.exit_code == -9

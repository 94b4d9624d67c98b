"""What a run takes, in which order, and what it says of itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench import measures, run
from bench.commands import cli
from bench.measures import Measure
from bench.pace import paced
from bench.run import FULL, QUICK, chosen, counting
from conf.settings import Settings


def test_groups_are_taken_in_the_order_in_which_they_build_on_each_other() -> None:
    assert chosen(FULL, ["latency", "catch-up", "limit", "latency"]) == ["floor", "limit", "catch-up", "latency"]
    assert chosen(QUICK, ["whole"]) == ["floor", "whole"]
    assert chosen(QUICK, []) == ["floor", "catch-up", "latency", "serving"]


def test_the_report_says_whether_counts_are_in_real_time_and_on_which_spark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PYTHON", tmp_path / "bin" / "python")
    (tmp_path / "lib" / "python3.11" / "site-packages" / "pyspark-4.3.7.dist-info").mkdir(parents=True)
    assert counting(Settings(counts_trigger="real-time")) == "real time, Spark 4.3.7"
    assert counting(Settings(counts_trigger="micro-batch")).startswith("batches, Spark 4.")


def test_what_was_measured_is_reported_also_where_a_later_step_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def nowhere(*_: Path) -> Iterator[None]:
        yield

    def fails(*_: object) -> Iterator[Measure]:
        raise SystemExit("no room")

    monkeypatch.setattr(run, "a_place", nowhere)
    monkeypatch.setattr(run, "own_settings", lambda _: Settings(data_dir=tmp_path))
    monkeypatch.setattr(run, "STEPS", {"floor": lambda *_: [Measure("floor.cpu", "s", 1, "how")], "whole": fails})
    with pytest.raises(SystemExit, match="no room"):
        run.bench(tmp_path / "report", tmp_path, QUICK, ["whole"], Console(file=StringIO()))
    assert "| floor.cpu | 1 |" in (tmp_path / "report" / "bench.md").read_text()


def test_a_pace_that_is_not_reached_ends_at_its_time() -> None:
    began = time.monotonic()
    for _ in paced(1_000, 0.2):
        time.sleep(0.01)
    assert time.monotonic() - began < 1


def test_a_run_says_what_is_set_and_on_which_broker_but_no_secret() -> None:
    own = measures.about("quick", "batches", Settings(kafka_port=1, kafka_bootstrap="", audit_every_seconds=0))
    assert (own["broker"], own["settings"]) == ("its own", {})
    there = {"kafka_bootstrap": "k:1", "kafka_security": "scram", "kafka_user": "me", "auth_secret": "s" * 32}
    named = measures.about("quick", "batches", Settings(**there, top=9))
    assert (named["broker"], named["settings"]) == ("k:1", {"kafka_security": "scram", "top": 9})
    assert named["versions"]["kafka"] == "unknown"


def test_a_machine_without_git_does_not_know_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert measures._commit() == "unknown"


@pytest.mark.parametrize("option", ["--facts", "--pairs"])
def test_fewer_facts_than_the_history_has_posts_are_refused(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "bench", lambda *_: pytest.fail("it went on"))
    found = CliRunner().invoke(cli, [option, "19999"])
    assert found.exit_code == 2
    assert "20000" in found.output

"""The auditor: one audit after the other, its newest result kept and told, and nothing left running."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from rich.console import Console

from audit import auditor as module
from audit.auditor import Auditor
from audit.job import sweep
from audit.report import Report, show
from audit.run import command
from conf.settings import Settings
from jobs.submit import COMPILES_LITTLE, MANY
from runtime.parts import stack_parts

FINE = {
    "audited_at": "2026-11-20T14:05:00.000Z",
    "facts": 42,
    "part": 0,
    "parts": 1,
    "drift": 0,
    "drift_posts": 0,
    "unsettled": 1,
    "seconds": 9.5,
    "first": [],
}


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(data_dir=folder, **more)


def pretend(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], code: int) -> list[int]:
    """In place of the job, a process that writes this report and ends so; whose turn it was, each time."""
    turns: list[int] = []
    script = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2]); sys.exit(int(sys.argv[3]))"

    def line(_: Settings, report: Path, turn: int, **__: Any) -> list[str]:
        turns.append(turn)
        return [sys.executable, "-c", script, str(report), json.dumps(found), str(code)]

    monkeypatch.setattr(module, "command", line)
    return turns


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


def test_a_result_is_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {**FINE, "drift": 3, "drift_posts": 2}, 1)
    Auditor(settings(tmp_path)).audit()
    assert json.loads(settings(tmp_path).audit_result.read_text())["facts"] == 42
    assert (metric("msm_audit_drift"), metric("msm_audit_drift_posts"), metric("msm_audit_facts")) == (3, 2, 42)
    assert metric("msm_audit_last_run_timestamp_seconds") == 1_795_183_500


def test_each_part_has_its_turn_and_one_that_drifts_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    for part, drift, of_all in ((0, 0, 0), (1, 2, 0), (1, 3, 2), (1, 2, 2), (2, 2, 2), (3, 0, 0)):
        found = {
            "part": part,
            "parts": 4,
            "drift": drift,
            "drift_letters": of_all // 2,
            "archive": [""] * (of_all // 2),
        }
        asked = pretend(monkeypatch, {**FINE, **found}, int(drift > 0))
        Auditor(settings(tmp_path)).audit()  # a new one each time, as after a start
        turns += asked
    assert turns == [0, 1, 1, 1, 2, 3]  # what is wrong in any part keeps none from having its turn
    assert (metric("msm_audit_parts"), metric("msm_audit_unsettled_posts")) == (4, 1)


def test_an_audit_that_can_say_nothing_leaves_the_last_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FINE, 0)
    auditor = Auditor(settings(tmp_path))
    auditor.audit()
    failed = metric("msm_audit_failed_total")
    pretend(monkeypatch, {"error": "the archive is 7 records behind the counts"}, 2)
    auditor.audit()
    assert metric("msm_audit_failed_total") == failed + 1
    assert json.loads(settings(tmp_path).audit_result.read_text()) == FINE


def test_an_audit_that_died_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(module, "command", lambda *_, **__: dies)
    failed = metric("msm_audit_failed_total")
    Auditor(settings(tmp_path)).audit()
    assert metric("msm_audit_failed_total") == failed + 1
    assert not settings(tmp_path).audit_result.exists()


def test_the_stack_has_an_auditor_that_nobody_waits_for(tmp_path: Path) -> None:
    parts = {part.name: part for part in stack_parts(settings(tmp_path))}
    assert parts["auditor"].ready()
    assert {"posts_with_counts", "trending_posts", "archive"} <= set(parts["auditor"].after)
    assert not any("auditor" in part.after for part in parts.values())
    assert "auditor" not in {part.name for part in stack_parts(settings(tmp_path, audit_every_seconds=0))}


def test_what_a_killed_audit_left_behind_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tmpold").mkdir()
    (tmp_path / "tmpold" / "part").touch()
    os.utime(tmp_path / "tmpold", (0, 0))
    (tmp_path / "tmpnew").mkdir()
    (tmp_path / "latest.json").touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.json", "tmpnew"]


def test_in_the_background_it_takes_one_core(tmp_path: Path) -> None:
    line = command(settings(tmp_path), tmp_path / "r.json", background=True)
    assert line[line.index("--master") + 1] == "local[1]"
    cluster = command(settings(tmp_path, spark_master="spark://one:7077"), tmp_path / "r.json", background=True)
    assert cluster[cluster.index("--master") + 1] == "spark://one:7077"


def shown(report: Report) -> str:
    console = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115
    show(report.as_json(), console)
    console.file.close()
    return console.export_text()


def test_the_sum_is_printed_and_what_does_not_close_is_drift() -> None:
    report = Report("2026-11-20T14:05:00.000Z", "the archive", records=10, counted=6, superseded=2, dead=1, waiting=1)
    assert report.drift == 0
    assert "facts in 9 = 6 counted + 2 superseded + 1 dead" in shown(report)
    report.counted = 5
    assert report.drift == 1
    assert "does not close" in shown(report)


def test_what_differs_is_printed_as_it_is() -> None:
    said = {"likes": 3, "comments": 0, "version": 9}
    row = {"post_id": "[red]p[/nothing]", "topic": said, "transforms": None, "statement": None}
    report = Report("2026-11-20T14:05:00.000Z", "the archive", drift_posts=1)
    report.first = [{**row, "table": None, "feed": None, "why": ["no facts"]}]
    text = shown(report)
    assert "[red]p[/nothing]" in text
    assert "3 likes" in text


def test_an_audit_of_few_records_compiles_little_and_one_of_many_does(tmp_path: Path) -> None:
    def line(records: int) -> list[str]:
        for log, text in (("offsets", f'v1\n{{}}\n{{"likes": {{"0": {records}}}}}'), ("commits", "v1\n{}")):
            (tmp_path / "checkpoints" / "events" / log).mkdir(parents=True, exist_ok=True)
            (tmp_path / "checkpoints" / "events" / log / "0").write_text(text)
        return command(settings(tmp_path), tmp_path / "r.json")

    assert "spark.sql.codegen.wholeStage=false" in command(settings(tmp_path / "new"), tmp_path / "r.json")
    assert "spark.sql.codegen.wholeStage=false" in line(MANY - 1)
    assert "spark.sql.codegen.wholeStage=false" not in line(MANY)


def test_an_audit_that_compiles_little_has_as_much_room_for_it_as_any() -> None:
    def room(*options: str) -> str:
        flags = subprocess.run(
            ["java", *options, "-XX:+PrintFlagsFinal", "-version"], capture_output=True, text=True, check=True
        )
        (line,) = [line for line in flags.stdout.splitlines() if "ReservedCodeCacheSize" in line]
        return line.split()[3]

    assert int(room(*COMPILES_LITTLE.split())) >= int(room())

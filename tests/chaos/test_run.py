"""A run goes on, whatever goes wrong with one fault, and touches no stack but its own."""

import json
import os
import random
import signal
import subprocess
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from kafka.errors import KafkaConnectionError
from rich.console import Console

from audit.report import EVERYTHING, Report
from chaos import audits
from chaos import run as chaos_run
from chaos.disks import mount
from chaos.fault import Done
from chaos.faults import FAULTS
from chaos.ground import Ground
from chaos.report import Outcome
from chaos.run import inflict, light_settings, run
from conf.settings import Settings


def test_a_fault_that_goes_wrong_in_a_way_nobody_thought_of_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def goes_wrong(_: Ground) -> Any:
        raise psutil.NoSuchProcess(42)

    monkeypatch.setitem(FAULTS, "kill web", goes_wrong)
    monkeypatch.setattr(Ground, "ends", lambda _: {})
    ground = Ground(Settings(data_dir=tmp_path), random.Random(1), rate=1)
    outcome = inflict(ground, "kill web", 1, spark=None)  # type: ignore[arg-type]
    assert outcome.result == "failed"
    assert outcome.what.startswith("NoSuchProcess: ")


def test_a_broker_that_is_away_when_the_audit_looks_fails_one_fault_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_away(*_: Any) -> Any:
        raise KafkaConnectionError

    monkeypatch.setitem(FAULTS, "kill web", lambda _: Done("killed"))
    monkeypatch.setattr(Ground, "wait_until_well", lambda _: None)
    monkeypatch.setattr(Ground, "stopped", lambda *_: nullcontext())
    monkeypatch.setattr(Ground, "lost", is_away)
    ground = Ground(Settings(data_dir=tmp_path), random.Random(1), rate=1)
    outcome = inflict(ground, "kill web", 1, spark=None)  # type: ignore[arg-type]
    assert (outcome.result, outcome.what.split(":")[0]) == ("failed", "killed KafkaConnectionError")


def test_a_broker_that_goes_away_within_the_audit_leaves_it_with_nothing_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_away(*_: Any, **__: Any) -> Any:
        raise KafkaConnectionError

    monkeypatch.setattr(audits, "audit", is_away)
    spark: Any = SimpleNamespace(sparkContext=SimpleNamespace(cancelAllJobs=lambda: None))
    outcome = audits.audited(Outcome("kill web", "survived", ""), spark, Settings(data_dir=tmp_path))
    assert (outcome.result, outcome.drift) == ("failed", None)
    assert "KafkaConnectionError" in outcome.what


@pytest.mark.parametrize(
    ("reports", "drift"),
    [
        ([{}], 0),
        ([{"compared": EVERYTHING[:4]}, {"unsettled": 1}, {}], 0),
        ([{"compared": EVERYTHING[:4]}] * 3, None),
        ([{"unsettled": 1}] * 3, None),
        ([{"compared": EVERYTHING[:4], "drift_posts": 2}], 2),
    ],
    ids=["all", "all in the end", "rising never", "a post never", "drift of a part"],
)
def test_no_drift_is_what_an_audit_of_everything_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[dict[str, Any]], drift: int | None
) -> None:
    made = [Report("", "", **{"compared": EVERYTHING, **one}) for one in reports]
    monkeypatch.setattr(audits, "audit", lambda *_, **__: made.pop(0))
    spark: Any = SimpleNamespace(sparkContext=SimpleNamespace(cancelAllJobs=lambda: None))
    outcome = audits.audited(Outcome("kill web", "survived", ""), spark, Settings(data_dir=tmp_path))
    assert (outcome.drift, outcome.result) == (drift, "failed" if drift != 0 else "survived")
    assert not made


@pytest.fixture
def of_a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data dir whose supervisor lives: this process."""
    monkeypatch.setattr(os, "environ", {**os.environ})  # a run sets its own
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    settings = light_settings(tmp_path)
    settings.run_dir.mkdir()
    state = {"pid": os.getpid(), "started_at": psutil.Process().create_time(), "parts": {}}
    (settings.run_dir / "stack.json").write_text(json.dumps(state))
    return tmp_path


def test_a_stack_that_runs_is_left_alone(of_a_stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[str] = []
    monkeypatch.setattr(chaos_run, "mount", lambda folder: touched.append(f"mounted at {folder}"))
    monkeypatch.setattr(Ground, "stop", lambda _: touched.append("stopped"))
    with pytest.raises(SystemExit, match="make down, or another --data"):
        run(of_a_stack / "report", of_a_stack, 1, ["full disk: lake"], Console())
    assert touched == []


def test_who_interrupts_twice_leaves_no_disk_and_sees_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []

    class Small:
        def __init__(self, folder: Path) -> None:
            self.name = folder.name

        def unmount(self) -> None:
            gone.append(self.name)
            if self.name == "lake":
                raise subprocess.CalledProcessError(32, "umount")

    def interrupt(_: Ground) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "environ", {**os.environ})  # a run sets its own
    monkeypatch.setattr(chaos_run, "end_as_by_ctrl_c", lambda: None)
    monkeypatch.setattr(chaos_run, "mount", Small)
    monkeypatch.setattr(Ground, "start", interrupt)
    monkeypatch.setattr(Ground, "stop", interrupt)
    names = [f"full disk: {name}" for name in ("checkpoints", "lake", "kafka")]
    shown = Console(file=StringIO())
    with pytest.raises((KeyboardInterrupt, subprocess.CalledProcessError)):
        run(tmp_path / "report", tmp_path / "stack", 1, names, shown)
    assert sorted(gone) == ["checkpoints", "kafka", "lake"]
    assert "the report:" in shown.file.getvalue()  # type: ignore[attr-defined]
    assert (tmp_path / "report" / "report.json").exists()


def test_no_small_disk_hides_what_a_folder_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("mounted"))
    (tmp_path / "events").mkdir()
    with pytest.raises(PermissionError, match="is not empty"):
        mount(tmp_path)


def test_a_run_has_secrets_of_its_own_in_a_shell_that_names_those_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_cluster = {"SECRETS_DIR": str(tmp_path / "cluster"), "USER": "alice", "SECURITY": "scram", "BOOTSTRAP": "k:1"}
    own = {f"MSM_KAFKA_{name}": value for name, value in of_a_cluster.items()}
    monkeypatch.setattr(os, "environ", {**os.environ, **own})
    settings = light_settings(tmp_path / "own")
    assert settings.kafka_secrets == tmp_path / "own" / "secrets" / "kafka"
    assert settings.acting_as("likes").kafka_login == "likes"

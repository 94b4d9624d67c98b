"""Rows may be on their way where the counts are in real time, wherever the audit runs."""

from pathlib import Path

import pytest

from conf.settings import Settings
from jobs import realtime


@pytest.mark.parametrize(
    ("trigger", "master", "there", "is_real_time"),
    [
        ("real-time", "spark://one:7077", "", True),
        ("real-time", "local[*]", "", True),
        ("auto", "local[*]", ".stamp", True),
        ("auto", "local[*]", "", False),
        ("auto", "local[*]", "bin/python", False),  # its set-up was interrupted
        ("auto", "spark://one:7077", ".stamp", False),
        ("micro-batch", "local[*]", ".stamp", False),
    ],
)
def test_whoever_demands_real_time_has_it_also_where_this_machine_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trigger: str, master: str, there: str, is_real_time: bool
) -> None:
    (tmp_path / "bin").mkdir()
    if there:
        (tmp_path / there).touch()
    monkeypatch.setattr(realtime, "PYTHON", tmp_path / "bin" / "python")
    settings = Settings.model_validate({"counts_trigger": trigger, "spark_master": master})
    assert realtime.is_real_time(settings) == is_real_time

"""Rows may be on their way where the counts are in real time, wherever the audit runs."""

import sys
from pathlib import Path

import pytest

from conf.settings import Settings
from jobs import realtime

ELSEWHERE = Path("/on/another/machine")


@pytest.mark.parametrize(
    ("trigger", "master", "python", "is_real_time"),
    [
        ("real-time", "spark://one:7077", ELSEWHERE, True),
        ("real-time", "local[*]", ELSEWHERE, True),
        ("auto", "local[*]", Path(sys.executable), True),
        ("auto", "local[*]", ELSEWHERE, False),
        ("auto", "spark://one:7077", Path(sys.executable), False),
        ("micro-batch", "local[*]", Path(sys.executable), False),
    ],
)
def test_whoever_demands_real_time_has_it_also_where_this_machine_does_not(
    monkeypatch: pytest.MonkeyPatch, trigger: str, master: str, python: Path, is_real_time: bool
) -> None:
    monkeypatch.setattr(realtime, "PYTHON", python)
    settings = Settings.model_validate({"counts_trigger": trigger, "spark_master": master})
    assert realtime.is_real_time(settings) == is_real_time

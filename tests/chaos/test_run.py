"""A run goes on, whatever goes wrong with one fault."""

import random
from pathlib import Path
from typing import Any

import psutil
import pytest

from chaos.faults import FAULTS
from chaos.ground import Ground
from chaos.run import inflict
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

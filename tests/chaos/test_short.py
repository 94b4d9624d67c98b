"""The short run, on a stack of its own: what CI does on every change."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.schedule import SHORT
from tests.feeds.serving import free_ports

MSM = Path(sys.executable).with_name("msm")
pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_numbers_stay_exact_whatever_is_done_to_a_stack(tmp_path: Path) -> None:
    kafka = free_ports(3)  # broker, controller, website
    own = {"MSM_DATA_DIR": str(tmp_path), "MSM_KAFKA_PORT": str(kafka), "MSM_HTTP_PORT": str(kafka + 2)}
    line = [str(MSM), "chaos", "--short"]
    done = subprocess.run(line, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    (kept,) = tmp_path.glob("chaos/*/report.json")
    faults = json.loads(kept.read_text())["faults"]
    assert {one["fault"] for one in faults} == set(SHORT)
    assert [one for one in faults if one["result"] != "survived" or one["drift"] != 0] == []
    assert min(one["facts"] for one in faults) > 0

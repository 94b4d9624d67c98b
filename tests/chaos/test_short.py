"""A run of one fault, on a stack of its own, with a fresh data dir."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.schedule import SHORT
from tests.feeds.serving import free_ports

MSM = Path(sys.executable).with_name("msm")
SECONDS = 3_000
FAULT = "kill after Kafka, before the commit"
"""One of the short run's; tests/stack kills the broker, tests/rebuild every query between its write and its commit."""
assert FAULT in SHORT
pytestmark = [pytest.mark.stack, pytest.mark.timeout(SECONDS + 120)]


def short_run(data: Path) -> tuple[int, str]:
    kafka = free_ports(3)  # broker, controller, website
    own = {"MSM_DATA_DIR": str(data), "MSM_KAFKA_PORT": str(kafka), "MSM_HTTP_PORT": str(kafka + 2)}
    line, both = [str(MSM), "chaos", "--only", FAULT], subprocess.STDOUT
    with subprocess.Popen(line, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=both, text=True) as run:
        try:
            said, _ = run.communicate(timeout=SECONDS)
        except BaseException:
            run.terminate()  # it takes its stack along
            print(run.communicate()[0])
            raise
        return run.returncode, said


def test_numbers_stay_exact_whatever_is_done_to_a_stack(tmp_path: Path) -> None:
    code, said = short_run(tmp_path)
    assert code == 0, said
    (kept,) = tmp_path.glob("chaos/*/report.json")
    faults: list[dict[str, Any]] = json.loads(kept.read_text())["faults"]
    assert [one["fault"] for one in faults] == [FAULT]
    assert [one for one in faults if (one["result"], one["drift"], one["lost"]) != ("survived", 0, 0)] == []
    assert min(one["facts"] for one in faults) > 0

"""A fault of `make chaos` on the stack that is there: last, since its traffic has broken records and popular posts."""

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest
from pyspark.sql import SparkSession

from chaos.ground import HEAL_SECONDS, Ground
from chaos.run import RATE, inflict
from runtime.processes import wait_until
from tests.stack.conftest import MSM, Stack

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(3600)]
FAULT = "kill after the panes were kept, before the commit"
"""Of the moments that a kill can be aimed at the longest; tests/rebuild has every query between write and commit."""


@dataclass
class OneThatIsThere(Ground):
    """Its traffic is no part of it."""

    traffic: "subprocess.Popen[bytes] | None" = None

    def pid(self, part: str) -> int:
        if part != "simulator":
            return super().pid(part)
        assert self.traffic is not None
        return self.traffic.pid

    def wait_until_well(self) -> None:
        """In real time the counts commit once in five minutes; killed once more, they catch up in batches first."""

        def is_ready() -> bool:
            return not self.unready()

        wait_until(is_ready, HEAL_SECONDS, lambda: f"not ready: {self.unready()}")
        goal = self.ends()
        self.kill("posts_with_counts")
        wait_until(lambda: not self.behind(goal), HEAL_SECONDS, lambda: f"stands still: {self.behind(goal)}")
        wait_until(is_ready, HEAL_SECONDS, lambda: f"not ready: {self.unready()}")


@pytest.fixture
def ground(stack: Stack) -> Iterator[OneThatIsThere]:
    found = OneThatIsThere(stack.settings, random.Random(1), RATE)
    line = [str(MSM), "simulate", "--rate", str(RATE), "--seed", "1", "--receipts", str(found.receipts)]
    found.traffic = subprocess.Popen(line, env=stack.env)
    yield found
    for pid in reversed(found.pids("simulator")):
        psutil.Process(pid).kill()
    found.traffic.wait()


def test_numbers_stay_exact_whatever_is_done_to_a_stack(ground: OneThatIsThere, spark: SparkSession) -> None:
    outcome = inflict(ground, FAULT, 1, spark.newSession())
    assert (outcome.result, outcome.drift, outcome.lost) == ("survived", 0, 0), outcome.what
    assert outcome.facts > 0
    assert ground.receipts.stat().st_size > 0

"""The stack that faults are inflicted on: what one may do to it, and whether it is well."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from chaos.disks import Disk
from conf.settings import Settings
from contract.facts import FACT_TOPICS
from jobs.checkpoints import PROJECTED, STATES, seen_offsets
from jobs.offsets import Offsets, consumer_of, ends, reached
from producers.receipts import lost, read
from runtime import stack
from runtime.processes import wait_until

QUERIES = tuple(query for queries in STATES.values() for query in queries if query != PROJECTED)
"""Those that read facts."""
HEAL_SECONDS = 1_200
"""In real time a commit may be five minutes away, and the rankings' start three."""
DEATH_SECONDS = 30


@dataclass
class Ground:
    """A running stack with traffic; `rng` decides all that is left to chance."""

    settings: Settings
    rng: random.Random
    rate: float
    disks: dict[str, Disk] = field(default_factory=dict)

    def start(self) -> None:
        """As `make up`, with traffic; each start tells another story."""
        seed = self.rng.randrange(1 << 30)
        traffic = ("--rate", str(self.rate), "--seed", str(seed), "--receipts", str(self.receipts))
        stack.start(self.settings, lambda _: None, traffic)

    @property
    def receipts(self) -> Path:
        """Of every record that the broker acknowledged to the traffic."""
        return self.settings.data_dir / "receipts"

    def lost(self) -> int:
        """How many of these Kafka has no more."""
        return len(lost(read(self.receipts), consumer_of(self.settings)))

    def stop(self) -> None:
        stack.stop(self.settings)

    def state(self) -> dict[str, Any]:
        """What the supervisor says; TimeoutError where it is gone."""
        state = stack.running(self.settings)
        if state is None:
            log = self.settings.log_dir / "supervisor.log"
            raise TimeoutError(f"the supervisor is gone: see {log}")
        return state

    def pid(self, part: str) -> int:
        """The process of a part, of a job its JVM; waits while the supervisor starts it."""
        wait_until(lambda: bool(self.state()["parts"][part]["pid"]), DEATH_SECONDS, lambda: f"{part} does not start")
        return int(self.state()["parts"][part]["pid"])

    def pids(self, part: str) -> list[int]:
        """All processes of a part."""
        leader = psutil.Process(self.pid(part))
        return [leader.pid, *(child.pid for child in leader.children(recursive=True))]

    @contextmanager
    def stopped(self, part: str) -> Iterator[None]:
        """SIGSTOP to all processes of a part, and SIGCONT at the end."""
        pids = self.pids(part)
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)

    def kill(self, part: str) -> None:
        """SIGKILL to what the supervisor started, and wait until it has seen that."""
        restarts = self.state()["parts"][part]["restarts"]
        os.kill(self.pid(part), signal.SIGKILL)
        self.wait_for_death(part, restarts)

    def wait_for_death(self, part: str, restarts: int, seconds: float = DEATH_SECONDS) -> None:
        def has_died() -> bool:
            return bool(self.state()["parts"][part]["restarts"] > restarts)

        wait_until(has_died, seconds, lambda: f"{part} is dead and nobody has noticed")

    def restarts(self, part: str) -> int:
        return int(self.state()["parts"][part]["restarts"])

    def ends(self) -> Offsets:
        """Of each partition of the fact topics where the next record goes."""
        return ends(self.settings, FACT_TOPICS)

    def wait_until_well(self) -> None:
        """Every part is ready, and every query has done all that was in Kafka then; else TimeoutError with why."""
        deadline = time.monotonic() + HEAL_SECONDS
        wait_until(lambda: not self.unready(), HEAL_SECONDS, lambda: f"not ready in {HEAL_SECONDS} s: {self.unready()}")
        goal = self.ends()
        left = deadline - time.monotonic()
        wait_until(lambda: not self.behind(goal), left, lambda: f"stands still: {self.behind(goal)}")
        wait_until(lambda: not self.unready(), 60, lambda: f"not ready: {self.unready()}")

    def unready(self) -> list[str]:
        return [name for name, part in self.state()["parts"].items() if not part["ready"]]

    def behind(self, goal: Offsets) -> list[str]:
        """Queries that have not done everything below the goal."""
        checkpoints = self.settings.checkpoint_dir
        return [query for query in QUERIES if not reached(seen_offsets(checkpoints / query), goal)]

    def told(self, part: str) -> str:
        """The sentence of a part's present log and the one before that says what is wrong; empty where none does."""
        log = self.settings.log_dir / f"{part}.log"
        for path in (log, log.with_name(f"{log.name}.1")):
            sentence = sentence_in(path.read_text(errors="replace")) if path.exists() else ""
            if sentence:
                return sentence
        return ""


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def sentence_in(log: str) -> str:
    """What a job or the broker last wrote for a person: a fix, or else the line that names one."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log).splitlines()
    lines = [line for line in plain if re.search(r"fix=(?!.see the lines above)|make \w+|free some space|docs/", line)]
    fix = re.search(r"""fix=(['"])(.*?)\1""", lines[-1]) if lines else None
    return fix[2] if fix else " ".join(lines[-1].split()) if lines else ""

"""Starts the parts of a stack in order, restarts what dies, stops everything.

.venv/bin/python -m runtime.supervisor [--simulate OPTIONS...]
"""

import errno
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import structlog

from conf import REPOSITORY
from conf.settings import Settings, load_settings
from conf.store import write_whole
from jobs.running import STACK, open_lock, state_file, taken
from jobs.submit import job_env
from runtime.parts import Part, stack_parts
from runtime.processes import Process

log = structlog.get_logger()
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0  # seconds
STEADY_SECONDS = 60
TRIES = 3
"""Starts without ever being ready after which the stack gives up: something is wrong that no restart mends."""


@dataclass
class Child:
    """A part and how it is doing."""

    part: Part
    process: Process | None = None
    started_at: float = 0
    next_start: float = 0
    failures: int = 0
    restarts: int = 0
    ready: bool = False
    was_ready: bool = False
    said: str = ""


class Supervisor:
    """One loop: look at each part, do what is due, write down how things are."""

    def __init__(self, settings: Settings, parts: Sequence[Part]) -> None:
        self._settings = settings
        self._children = [Child(part) for part in parts]
        self._stopping = False
        self._state_file = state_file(settings.run_dir, STACK)
        self._written: dict[str, Any] = {}

    def run(self) -> int:
        """Until SIGTERM or Ctrl-C; 1 where a part cannot be brought up."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop_soon())
        failed = ""
        try:
            while not self._stopping and not failed:
                try:
                    for child in self._children:
                        self._look_at(child)
                    failed = self._hopeless()
                    self._write(failed)
                except OSError as error:
                    if error.errno != errno.ENOSPC or not all(child.was_ready for child in self._children):
                        raise
                    # Not even a log can be written: what is due is done once there is room.
                time.sleep(0.2)
        finally:
            self._stop_all(failed)
        return 1 if failed else 0

    def _stop_soon(self) -> None:
        self._stopping = True

    def _look_at(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.next_start and self._may_start(child.part):
                self._start(child)
        elif child.process.exit_code is not None:
            self._note_death(child)
        elif not child.ready and _is_ready(child.part):
            child.ready = child.was_ready = True
            log.info("ready", part=child.part.name, seconds=round(time.monotonic() - child.started_at, 1))
        elif child.ready and time.monotonic() - child.started_at > STEADY_SECONDS:
            child.failures = 0

    def _may_start(self, part: Part) -> bool:
        ready = {child.part.name for child in self._children if child.was_ready}
        return set(part.after) <= ready

    def _start(self, child: Child) -> None:
        part = child.part
        env = job_env(self._settings)
        child.process = Process.start(part.name, part.command, self._settings.log_dir, env, REPOSITORY)
        child.started_at = time.monotonic()
        log.info("started", part=part.name, pid=child.process.popen.pid)

    def _note_death(self, child: Child) -> None:
        process = child.process
        assert process is not None
        process.kill()  # what outlived its parent must not write beside the next one
        child.failures += 1
        child.restarts += 1
        wait = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2 ** (child.failures - 1))
        child.next_start = time.monotonic() + wait
        child.process, child.ready = None, False
        said = process.last_words()
        log.warning("died", part=child.part.name, exit_code=process.exit_code, starts_again_in=wait, said=said)
        child.said = said

    def _hopeless(self) -> str:
        for child in self._children:
            if child.failures >= TRIES and not child.was_ready:
                return f"{child.part.name} does not come up: {child.said} (log: {self._log_of(child)})"
        return ""

    def _log_of(self, child: Child) -> Path:
        return self._settings.log_dir / f"{child.part.name}.log"

    def _write(self, failed: str = "", stopped: bool = False) -> None:
        state = {
            "pid": os.getpid(),
            "started_at": psutil.Process().create_time(),
            "failed": failed,
            "parts": {} if stopped else {child.part.name: _state_of(child) for child in self._children},
        }
        if state != self._written:
            write_whole(self._state_file, state)
            self._written = state

    def _stop_all(self, failed: str) -> None:
        """In reverse order: the broker last, so that every part can still write what it has."""
        # Each of the jobs has a batch to end: they do so at the same time.
        running = [(child, child.process, child.part.ask_to_stop) for child in self._children]
        asked = [child for child, process, ask in running if process and ask and ask(process)]
        for child in reversed(self._children):
            if child.process is not None:
                with suppress(OSError):  # the disk is full
                    log.info("stopping", part=child.part.name)
                child.process.stop(asked=child in asked)
                child.process = None
        if failed:
            log.error("gave up", reason=failed)
            self._write(failed, stopped=True)
        else:
            self._state_file.unlink(missing_ok=True)


def _is_ready(part: Part) -> bool:
    """Whoever is asked may just be dying: that is for the next look to see."""
    try:
        return part.ready()
    except (Exception, SystemExit) as error:
        log.warning("not ready", part=part.name, reason=f"{type(error).__name__}: {error}")
        return False


def _state_of(child: Child) -> dict[str, Any]:
    return {
        "pid": child.process.popen.pid if child.process else None,
        "ready": child.ready,
        "restarts": child.restarts,
        "waits_for": list(child.part.after) if child.process is None else [],
    }


def main() -> None:
    """Run the stack of the settings; options after --simulate go to the simulator."""
    settings = load_settings()
    arguments = sys.argv[1:]
    simulate = tuple(arguments[1:]) if arguments[:1] == ["--simulate"] else None
    with open_lock(settings.run_dir, STACK) as lock:
        if not taken(lock):
            raise SystemExit(f"a stack already runs on {settings.data_dir}: make status shows it, make down stops it")
        sys.exit(Supervisor(settings, stack_parts(settings, simulate)).run())


if __name__ == "__main__":
    main()

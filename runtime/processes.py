"""Child processes: a session and a log of their own, stopped whole, never left behind."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1
_KEPT_LOGS = 3


@dataclass
class Process:
    """A running child and all that it started."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        log_dir: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> "Process":
        """Start in a session of its own; output goes to `<log_dir>/<name>.log`."""
        log = _fresh_log(log_dir, name)
        with log.open("ab") as out:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        return cls(name, popen, log)

    @property
    def exit_code(self) -> int | None:
        return self.popen.poll()

    def stop(self, seconds: float = 30, asked: bool = False) -> None:
        """Ask it to end with SIGTERM, unless it was asked already; kill what is left of it after the time is up.

        Also where the wait is interrupted.
        """
        try:
            if self.exit_code is None:
                if not asked:
                    self.popen.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self.popen.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole session, also to what outlived its parent."""
        kill_session(self.popen.pid)
        self.popen.wait()

    def last_words(self) -> str:
        """The last line of its log that says something."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8_192))
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"nothing in {self.log}"


def _fresh_log(log_dir: Path, name: str) -> Path:
    """The log of a new start; those of the starts before are kept as .1, .2, ..."""
    log_dir.mkdir(parents=True, exist_ok=True)
    log = log_dir / f"{name}.log"
    for number in range(_KEPT_LOGS, 0, -1):
        older = log_dir / f"{name}.log.{number}"
        newer = log_dir / f"{name}.log.{number - 1}" if number > 1 else log
        if newer.exists():
            newer.replace(older)
    return log


def _die_with_parent() -> None:
    """A child gets SIGTERM when its parent is killed, so that nothing lingers."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def kill_session(leader: int) -> None:
    """SIGKILL to every process of the session that `leader` began."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                process.kill()
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue


def end_as_by_ctrl_c() -> None:
    """SIGTERM, and a terminal that is closed, raise KeyboardInterrupt too: what was started is stopped.

    Under nohup, which ignores SIGHUP for its child, a run outlives the terminal.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def wait_until(condition: Callable[[], bool], seconds: float, complaint: Callable[[], str]) -> None:
    """Return once the condition holds; TimeoutError with the complaint where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint())
        time.sleep(0.1)


def wait_while_it_moves(
    condition: Callable[[], bool],
    moved: Callable[[], bool],
    look_seconds: float,
    still_seconds: float,
    complaint: Callable[[], str],
) -> None:
    """The same, however long it takes: TimeoutError where nothing `moved` since the look before, for that long."""
    moved_at = time.monotonic()
    while True:
        try:
            return wait_until(condition, look_seconds, complaint)
        except TimeoutError:
            if moved():
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > still_seconds:
                raise

"""Audits the stack every few minutes, one after the other, at low priority; keeps the newest result for the page.

.venv/bin/python -m audit.auditor
"""

import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Counter, Gauge

from audit.run import JVM, LOW_PRIORITY, command, environment, read
from conf import REPOSITORY
from conf.settings import Settings, load_settings
from contract.facts import parse_time
from jobs.running import announce
from jobs.submit import empty

log = structlog.get_logger()
NAME = "auditor"
FIRST_AFTER_SECONDS = 60
"""The jobs have just started: let them have the machine."""

DRIFT = Gauge("msm_audit_drift_posts", "Posts of which somebody says another number than the facts")
DRIFT_ALL = Gauge("msm_audit_drift", "Everything that differs: posts, dead letters, archive, rankings")
FACTS = Gauge("msm_audit_facts", "Facts that the last audit recounted")
UNSETTLED = Gauge("msm_audit_unsettled_posts", "Posts whose facts were on their way: to be judged by a later audit")
PARTS = Gauge("msm_audit_parts", "In as many audits, one after the other, each post is judged once")
SECONDS = Gauge("msm_audit_seconds", "Time that the last audit took")
LAST = Gauge("msm_audit_last_run_timestamp_seconds", "When the last audit that could say something began")
FAILED = Counter("msm_audit_failed", "Audits that could say nothing")


class Auditor:
    """One audit at a time; SIGTERM ends it with the audit that runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        self._stop.set()
        if self._running is not None:
            self._running.terminate()

    def run(self) -> None:
        """Until told to stop."""
        every = self._settings.audit_every_seconds
        wait = min(FIRST_AFTER_SECONDS, every)
        while not self._stop.wait(wait):
            self.audit()
            wait = every

    def audit(self) -> None:
        """One audit; its result is told and kept, or why there is none."""
        report = self._settings.audit_result.with_name("running.json")
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        empty(report.with_name(JVM))  # of one that was killed
        line = [*LOW_PRIORITY, *command(self._settings, report, background=True, turn=self._turn())]
        self._running = subprocess.Popen(line, cwd=REPOSITORY, env=environment(self._settings))
        code = self._running.wait()
        self._running = None
        if self._stop.is_set():
            return
        found = read(report, code)
        if "error" in found:
            FAILED.inc()
            log.warning("could not audit", reason=found["error"])
        else:
            self._keep(found, report)

    def _turn(self) -> int:
        """The part after that of the newest result; the same once more where it differs, until it does not.

        Letters and the archive are compared each time, whichever part it is.
        """
        newest = read(self._settings.audit_result, 0)
        of_all = newest.get("drift_letters", 0) + len(newest.get("archive", []))
        return int(newest.get("part", -1)) + int(newest.get("drift", 0) == of_all)

    def _keep(self, found: dict[str, Any], report: Path) -> None:
        report.replace(self._settings.audit_result)
        DRIFT.set(found["drift_posts"])
        DRIFT_ALL.set(found["drift"])
        UNSETTLED.set(found["unsettled"])
        FACTS.set(found["facts"])
        PARTS.set(found["parts"])
        SECONDS.set(found["seconds"])
        LAST.set(parse_time(found["audited_at"]).timestamp())
        tell = log.error if found["drift"] else log.info
        first = [post["post_id"] for post in found["first"][:3]]  # what people wrote does not belong into a log
        tell(
            "audited",
            facts=found["facts"],
            part=found["part"],
            of=found["parts"],
            drift=found["drift"],
            seconds=found["seconds"],
            first=first,
        )


def _give_way() -> None:
    """Where the kernel groups processes by session, `nice` counts within the group only: sched(7), autogroup."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def main() -> None:
    """Audit until SIGTERM."""
    _give_way()
    settings = load_settings()
    auditor = Auditor(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: auditor.stop())
    announce(settings, NAME)
    auditor.run()


if __name__ == "__main__":
    main()

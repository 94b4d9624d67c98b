"""Starts an audit as a process of its own: it needs a JVM for the time it takes, and none after."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from audit.report import NOTHING_SAID
from conf import REPOSITORY
from conf.settings import Settings
from jobs.submit import for_a_batch, job_env, spark_submit, temporary_in

MEMORY, JVM = "1g", "jvm"
LOW_PRIORITY = ("nice", "-n", "19")


def command(
    settings: Settings, report: Path, source: str = "archive", background: bool = False, turn: int | None = None
) -> list[str]:
    """The line of the job's docstring, with a small driver; in the background with one core.

    The JVM has its temporary files beside the report, in `JVM`.
    """
    if background and settings.spark_master.startswith("local"):
        settings = settings.model_copy(update={"spark_master": "local[1]"})
    options = ("--driver-memory", MEMORY, *temporary_in(settings, report.absolute().with_name(JVM)))
    line = spark_submit(settings, "job", *options, *for_a_batch(settings), folder="audit")
    return [*line, str(report), "--from", source, *(["--turn", str(turn)] if turn is not None else [])]


def environment(settings: Settings) -> dict[str, str]:
    """What the job finds its data and its Python by."""
    return {**os.environ, **job_env(settings)}


def audit_once(settings: Settings, source: str = "archive", turn: int | None = None) -> tuple[int, dict[str, Any]]:
    """Audit in the foreground, all or the part that has this turn: exit code and report.

    What the job says goes to standard error.

    Interrupted, it takes the job with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        code = _call(command(settings, report, source, turn=turn), environment(settings))
        found = read(report, code)
        return (NOTHING_SAID if "error" in found else code), found


def _call(line: list[str], env: dict[str, str]) -> int:
    with subprocess.Popen(line, cwd=REPOSITORY, env=env, stdout=sys.stderr, start_new_session=True) as job:
        try:
            return job.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)  # the JVM and its Python


def read(report: Path, code: int) -> dict[str, Any]:
    """The report of a job that ended; what is known of one that wrote none."""
    try:
        found: dict[str, Any] = json.loads(report.read_text())
        return found
    except (OSError, ValueError):
        return {"error": f"the audit ended with exit code {code} and no report: see the lines above"}

"""Starts an audit as a process of its own: it needs a JVM for the time it takes, and none after."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from conf.settings import Settings
from jobs.submit import for_a_batch, job_env, spark_submit

REPOSITORY = Path(__file__).resolve().parents[1]
MEMORY = "1g"
LOW_PRIORITY = ("nice", "-n", "19")


def command(settings: Settings, report: Path, source: str = "archive", background: bool = False) -> list[str]:
    """The line of the job's docstring, with a small driver; in the background with one core."""
    if background and settings.spark_master.startswith("local"):
        settings = settings.model_copy(update={"spark_master": "local[1]"})
    line = spark_submit(settings, "job", "--driver-memory", MEMORY, *for_a_batch(settings), folder="audit")
    return [*line, str(report), "--from", source]


def environment(settings: Settings) -> dict[str, str]:
    """What the job finds its data and its Python by."""
    return {**os.environ, **job_env(settings)}


def audit_once(settings: Settings, source: str = "archive") -> tuple[int, dict[str, Any]]:
    """Audit in the foreground: exit code and report; what the job says goes to standard error."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        line = command(settings, report, source)
        code = subprocess.call(line, cwd=REPOSITORY, env=environment(settings), stdout=sys.stderr)
        return code, read(report, code)


def read(report: Path, code: int) -> dict[str, Any]:
    """The report of a job that ended; what is known of one that wrote none."""
    try:
        found: dict[str, Any] = json.loads(report.read_text())
        return found
    except (OSError, ValueError):
        return {"error": f"the audit ended with exit code {code} and no report: see the lines above"}

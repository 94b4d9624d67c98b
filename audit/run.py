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

from conf.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[1]
JOB = "audit/job.py"
MEMORY = "1g"
JAVA_OPTIONS = "-Dlog4j2.configurationFile=conf/log4j2.properties -XX:+UseSerialGC"
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
"""Half of the processor's time of a short audit is the compiler's.

Without the second option it would have a fifth of the room for what it compiles: once that is full, all is interpreted,
and a task that needs an adapter ends the JVM (VirtualMachineError, Spark's exit code 50).
"""
LOW_PRIORITY = ("nice", "-n", "19")


def command(settings: Settings, report: Path, source: str = "archive", background: bool = False) -> list[str]:
    """The line of the job's docstring, with a small driver; in the background with one core, and little compiled."""
    master, java = settings.spark_master, JAVA_OPTIONS
    if background and master.startswith("local"):
        master = "local[1]"
    if background:
        java = f"{java} {QUICK_START}"
    submit = str(Path(sys.executable).with_name("spark-submit"))
    options = ["--master", master, "--properties-file", "conf/spark.conf", "--driver-memory", MEMORY]
    return [submit, *options, "--driver-java-options", java, JOB, str(report), "--from", source]


def environment(settings: Settings) -> dict[str, str]:
    """What the job finds its data and its Python by."""
    loopback = {"SPARK_LOCAL_IP": "127.0.0.1"} if settings.spark_master.startswith("local") else {}
    own = {"MSM_DATA_DIR": str(settings.data_dir.absolute()), "PYSPARK_PYTHON": sys.executable}
    return {**os.environ, **own, **loopback}


def audit_once(settings: Settings, source: str = "archive") -> tuple[int, dict[str, Any]]:
    """Audit in the foreground: exit code and report; what the job says goes to standard error.

    Interrupted or terminated, this process takes the job with it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        code = _call(command(settings, report, source), environment(settings))
        return code, read(report, code)


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

"""`msm audit` starts a JVM, and that a Python: none of them outlives it, and no file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from conf import REPOSITORY
from runtime.processes import wait_until

AUDIT = "from runtime import cli; cli.no_answer = lambda *_: ''; cli.app(['audit'])"
"""The command, without asking for a broker first."""


def command_lines(data: Path) -> list[list[str]]:
    """Of all that runs on this data dir."""
    found = [process.info for process in psutil.process_iter(["cmdline", "environ"])]
    return [one["cmdline"] or [] for one in found if (one["environ"] or {}).get("MSM_DATA_DIR") == str(data)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_audit_that_is_ended_leaves_no_process_and_no_file(tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**os.environ, "MSM_DATA_DIR": str(tmp_path), "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", AUDIT], cwd=REPOSITORY, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as audit:

        def has_python() -> bool:
            return any(line[1:2] == [str(REPOSITORY / "audit/job.py")] for line in command_lines(tmp_path))

        wait_until(has_python, 120, lambda: "the job does not start")
        (jvm,) = temporary.glob("*/jvm")
        assert any(f"-Djava.io.tmpdir={jvm}" in line for line in command_lines(tmp_path))
        audit.send_signal(number)
        assert audit.wait(20) != 0
        wait_until(lambda: not command_lines(tmp_path), 120, lambda: f"left: {command_lines(tmp_path)}")
        assert list(temporary.iterdir()) == []

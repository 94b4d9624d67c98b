"""Processor time of a session: of all its processes, also of those that have ended."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.usage import cores, usage_of
from runtime.processes import Process, wait_until

BURN = "import time; [None for _ in iter(lambda: time.process_time() < {seconds}, False)]"
TREE = f"""
import subprocess, sys, time
burn = lambda seconds: subprocess.Popen([sys.executable, "-c", {BURN!r}.format(seconds=seconds)])
burn(0.6).wait()                                    # has ended, and was waited for
deeper = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN.format(seconds=0.5)!r}])"
subprocess.run([sys.executable, "-c", deeper])      # a grandchild
alive = subprocess.Popen([sys.executable, "-c", {BURN.format(seconds=0.4)!r} + "; print(flush=True); time.sleep(60)"],
                         stdout=subprocess.PIPE)
alive.stdout.read(1)                                # is still there
print("burnt", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def burnt(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    process = Process.start("tree", (sys.executable, "-c", TREE), tmp_path_factory.mktemp("tree"))
    try:
        wait_until(lambda: "burnt" in process.last_words(), 120, process.last_words)
        yield process
    finally:
        process.kill()


def test_children_that_live_and_that_have_ended_are_counted(burnt: Process) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import subprocess, sys, time"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = usage_of(burnt.popen.pid).cpu_seconds
    assert 1.5 <= seconds < 2.9 + 10 * start  # 0.6 + 0.5 + 0.4 once, and five interpreters that start


def test_memory_is_that_of_all_processes(burnt: Process) -> None:
    alone = int(Path(f"/proc/{burnt.popen.pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    assert usage_of(burnt.popen.pid).peak_bytes > 1.5 * alone


def test_other_sessions_are_not_counted(tmp_path: Path, burnt: Process) -> None:
    other = Process.start("other", (sys.executable, "-c", "input()"), tmp_path)
    try:
        assert usage_of(other.popen.pid).cpu_seconds < 1.0
    finally:
        other.kill()


@pytest.mark.parametrize(
    ("said", "of_the_parent", "expected"),
    [("max 100000", "max 100000", 4), ("150000 100000", "max 100000", 1.5), ("max 100000", "200000 100000", 2)],
)
def test_a_quota_of_processor_time_makes_fewer_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, of_the_parent: str, expected: float
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    (tmp_path / "pod" / "own").mkdir(parents=True)
    (tmp_path / "pod" / "own" / "cpu.max").write_text(f"{said}\n")
    (tmp_path / "pod" / "cpu.max").write_text(f"{of_the_parent}\n")
    (tmp_path / "cgroup").write_text("1:cpu:/\n0::/pod/own\n")
    assert str(cores(tmp_path, tmp_path / "cgroup")) == str(expected)

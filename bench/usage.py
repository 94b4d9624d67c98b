"""What a session of processes has used: robust where other work runs on the machine, as wall time is not."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor seconds (user and system), and the sum of each process's own peak of resident memory, in bytes."""

    cpu_seconds: float
    peak_bytes: int


def usage_of(leader: int) -> Usage:
    """Of all processes of the session that `leader` began, with those of their children that have ended."""
    ticks = peak = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) != leader:  # counted from behind the name: proc(5), field 6
                continue
            ticks += sum(int(number) for number in stat[11:15])  # utime, stime, and those of reaped children
            peak += _peak((folder / "status").read_text())
        except (OSError, IndexError, ValueError):
            continue  # it ended while we looked: its parent has its time
    return Usage(ticks / TICKS, peak)


def _peak(status: str) -> int:
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0

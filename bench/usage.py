"""What processes have used of processor and memory, and folders of the disk.

Processor time is robust where other work runs on the machine, as wall time is not.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Processor seconds (user and system), and of resident memory the sum of each process, in bytes: peak, and now."""

    cpu_seconds: float
    peak_bytes: int
    resident_bytes: int


def usage_of(leader: int) -> Usage:
    """Of all processes of the session that `leader` began, with those of their children that have ended."""
    ticks = peak = resident = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) != leader:  # counted from behind the name: proc(5), field 6
                continue
            ticks += sum(int(number) for number in stat[11:15])  # utime, stime, and those of reaped children
            status = (folder / "status").read_text()
            peak += _bytes(status, "VmHWM:")
            resident += _bytes(status, "VmRSS:")
        except (OSError, IndexError, ValueError):
            continue  # it ended while we looked: its parent has its time
    return Usage(ticks / TICKS, peak, resident)


def _bytes(status: str, name: str) -> int:
    lines = [line for line in status.splitlines() if line.startswith(name)]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def cores(groups: Path = Path("/sys/fs/cgroup"), ours: Path = Path("/proc/self/cgroup")) -> float:
    """How many we may use: those that we may run on, or fewer where a container's quota says so (cgroup v2)."""
    allowed: float = len(os.sched_getaffinity(0))
    own = next((line[3:] for line in ours.read_text().splitlines() if line.startswith("0::")), "/")
    folder = groups / own.lstrip("/")
    for place in (folder, *folder.parents):
        if place.is_relative_to(groups) and (place / "cpu.max").exists():
            quota, period = (place / "cpu.max").read_text().split()
            if quota != "max":
                allowed = min(allowed, round(int(quota) / int(period), 2))
    return int(allowed) if allowed == int(allowed) else allowed


@dataclass(frozen=True)
class Files:
    """How many, and what they take in bytes."""

    count: int
    size: int


def files_in(folder: Path) -> Files:
    """All below it; a job at work may remove some, and folders, while they are looked at."""
    count = size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.stat(os.path.join(parent, name)).st_size
                count += 1
    return Files(count, size)

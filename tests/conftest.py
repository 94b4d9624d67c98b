"""Which tests run side by side. `make test` starts a worker for every two cores, none for two: a test mostly waits."""

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

STACKS = ("bench", "chaos", "cluster", "notebooks", "stack", "website")
"""Folders that start a whole stack, or several brokers: one after the other."""


class ByFolder(LoadScopeScheduling):
    """The tests of a folder stay together, since they share what they start."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return "stacks" if folder in STACKS else folder


def pytest_xdist_auto_num_workers() -> int:
    workers = len(os.sched_getaffinity(0)) // 2
    return workers if workers > 1 else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    return ByFolder(config, log)

"""Which tests run side by side. `make test` starts a worker for every two cores: a test mostly waits."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
STACKS = ("bench", "chaos", "cluster", "notebooks", "stack", "website")
"""Folders that start a whole stack, or several brokers: one after the other."""


def pytest_xdist_auto_num_workers() -> int:
    return max(1, len(os.sched_getaffinity(0)) // 2)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The tests of a folder stay together, since they share what they start."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        item.add_marker(pytest.mark.xdist_group("stacks" if folder in STACKS else folder))

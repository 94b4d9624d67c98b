"""Which tests run side by side, their session, their browser and their brokers.

`make test` starts a worker for every two cores, and at least two: most tests wait for somebody.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from xdist.scheduler import LoadScopeScheduling

from conf.settings import Settings
from jobs.submit import COMPILES_LITTLE
from runtime import broker
from tests.brokers import running_broker
from tests.website.browser import ARGUMENTS, CHROMIUM, PATIENCE_MS, Tabs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# On a machine with other work an example may take any time; all else is as hypothesis has it, here or in CI.
hypothesis.settings.register_profile("unhurried", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("unhurried")

STACKS = ("bench", "cluster", "notebooks", "stack", "website")
"""Folders that start a whole stack, or several brokers: one after the other."""
LONGEST_FIRST = (*STACKS, "rebuild", "jobs")
"""So that no worker is left with one of them when the others have done everything else."""


class ByFolder(LoadScopeScheduling):
    """The tests of a folder stay together, since they share what they start."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return "stacks" if folder in STACKS else folder


def pytest_xdist_auto_num_workers() -> int:
    return max(2, len(os.sched_getaffinity(0)) // 2)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder:
    config.option.loadscopereorder = False  # a folder with few tests may be the longest
    return ByFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = item.nodeid.split("/")[1]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=turn)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a module: while it is there, this thread has an event loop that runs, and nobody another."""
    expect.set_options(timeout=PATIENCE_MS)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) as started,
    ):
        yield started


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """One session for all tests of what jobs do, set up by the jobs' own conf/spark.conf."""
    from tests.spark_session import new_session  # other tests need not wait for it

    session = new_session(warehouse=str(tmp_path_factory.mktemp("warehouse")))
    yield session
    session.stop()


@pytest.fixture
def chained(spark: "SparkSession") -> "Iterator[SparkSession]":
    """With what the rankings set themselves."""
    from jobs.rounds import change
    from jobs.trending_posts import OPTIONS

    change(spark, OPTIONS)
    yield spark
    change(spark, {}, OPTIONS)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a broker for all tests of a file."""
    with running_broker(tmp_path_factory.mktemp("kafka")) as settings:
        yield settings


@pytest.fixture(scope="session", autouse=True)
def quick_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One unsecured folder is formatted for all brokers that are started here; their JVMs compile little."""
    formatted = tmp_path_factory.mktemp("formatted") / "log"
    java, format_folder = broker._java, broker._format

    def quick_java(settings: Settings) -> list[str]:
        *line, option, jars = java(settings)
        return [*line, *COMPILES_LITTLE.split(), option, jars]

    def format_once(settings: Settings, properties: Path) -> None:
        there = settings.kafka_dir / "log"
        if settings.secured_kafka:
            format_folder(settings, properties)
        elif formatted.exists():
            shutil.copytree(formatted, there, dirs_exist_ok=True)
        else:
            format_folder(settings, properties)
            shutil.copytree(there, formatted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(broker, "_java", quick_java)
        patch.setattr(broker, "_format", format_once)
        yield


@pytest.fixture
def tabs(browser: Browser) -> Iterator[Tabs]:
    """A fresh profile; when it closes, its consoles must be empty."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        tabs = Tabs(context)
        yield tabs
        left = tabs.console.unexpected()
        assert not left, "left on the console:\n" + "\n".join(left)

"""A whole stack as `make up` starts it, on a broker that asks who one is; when it is down nothing of it may be left."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from conf import REPOSITORY
from conf.settings import Settings
from jobs.submit import COMPILES_LITTLE
from runtime.processes import wait_until
from tests.feeds.serving import free_ports

MSM = Path(sys.executable).with_name("msm")


@dataclass(frozen=True)
class Stack:
    """A running stack and where it is."""

    settings: Settings
    env: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.http_port}"

    def msm(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line for this stack."""
        command = [str(MSM), *arguments]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False, timeout=900)

    def processes(self) -> list[psutil.Process]:
        """Everything that runs with this stack's data dir."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MSM_DATA_DIR") == str(self.settings.data_dir):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    kafka = free_ports(3)  # broker, controller, website
    http = kafka + 2
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("stack"),
        kafka_bootstrap="",
        kafka_port=kafka,
        kafka_security="scram",
        http_port=http,
        demo=True,
    )
    own = {"MSM_DATA_DIR": str(settings.data_dir), "MSM_KAFKA_PORT": str(kafka), "MSM_HTTP_PORT": str(http)}
    own["MSM_AUDIT_EVERY_SECONDS"] = "60"  # so that one comes between two kills
    own["MSM_RANK_EVERY_SECONDS"], own["MSM_SHUFFLE_PARTITIONS"] = "10", "2"  # two cores have much to do
    own["JAVA_TOOL_OPTIONS"] = COMPILES_LITTLE  # no JVM grows old here
    running = Stack(settings, {**os.environ, **own, "MSM_DEMO": "true", "MSM_KAFKA_SECURITY": "scram"})
    before = in_repository()
    started = running.msm("up")
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield running
    finally:
        running.msm("down")
    wait_until(lambda: running.processes() == [], 20, lambda: f"left: {running.processes()}")
    assert in_repository() == before, "something was written beside the data dir"


def in_repository() -> list[str]:
    """But for the caches of tools."""
    return sorted(path.name for path in REPOSITORY.iterdir() if not path.name.startswith("."))

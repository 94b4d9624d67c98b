"""Where a run takes place: what is refused before anything starts, and what is left of a run that failed."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from bench import place
from bench.live import until_ready
from bench.place import Place, a_place
from conf.settings import Settings
from runtime.own_stack import own_settings
from runtime.processes import Process


@pytest.fixture(autouse=True)
def same_environment_afterwards() -> Iterator[None]:
    """A place sets what the processes that it starts go by."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "embedded_broker", lambda _: pytest.fail("it went on"))


def test_a_port_of_the_website_that_is_taken_is_named_with_the_fix(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        os.environ["MSM_HTTP_PORT"] = str(port)
        with pytest.raises(SystemExit, match=f"port {port} of .* MSM_HTTP_PORT"), a_place(tmp_path, tmp_path):
            pytest.fail("it went on")


def test_the_port_that_a_shell_sets_for_the_metrics_of_one_job_is_not_for_all_that_start_here(tmp_path: Path) -> None:
    os.environ["MSM_METRICS_PORT"] = "9100"
    assert own_settings(tmp_path).metrics_port == 0
    assert os.environ["MSM_METRICS_PORT"] == "0"


@pytest.mark.parametrize(("error", "kept"), [(ValueError, True), (SystemExit, True), (KeyboardInterrupt, False)])
def test_logs_outlive_a_failure(tmp_path: Path, error: type[BaseException], kept: bool) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "job.log").write_text("why")
    with pytest.raises(error), place._logs_kept(tmp_path / "logs", tmp_path / "report" / "logs"):
        raise error
    assert (tmp_path / "report" / "logs" / "job.log").exists() == kept


def test_a_part_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    ended = Process.start("posts_with_counts", ("sh", "-c", "echo no room"), tmp_path)
    ended.popen.wait()
    with pytest.raises(SystemExit, match=r"posts_with_counts ended: no room \(log: posts_with_counts.log\)"):
        until_ready(Place(Settings(data_dir=tmp_path)), ended)

"""The embedded broker makes its secrets where none are, and nowhere else."""

import os
from pathlib import Path
from typing import Any

import pytest

from conf.settings import Settings
from runtime import broker
from runtime.broker_security import make_secrets
from runtime.own_stack import own_settings


@pytest.fixture
def named(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", kafka_security="scram", kafka_secrets_dir=str(tmp_path / "secrets"))


def test_the_authority_of_a_cluster_stays(named: Settings) -> None:
    named.kafka_secrets.mkdir()
    (named.kafka_secrets / "ca.pem").write_text("of a cluster")
    with pytest.raises(SystemExit, match=r"ca.pem is of another cluster .* unset MSM_KAFKA_SECRETS_DIR$"):
        make_secrets(named)
    assert {path.name: path.read_text() for path in named.kafka_secrets.iterdir()} == {"ca.pem": "of a cluster"}


def test_own_secrets_may_be_kept_in_a_folder_that_is_set(named: Settings) -> None:
    make_secrets(named)
    made = {path.name: path.read_bytes() for path in named.kafka_secrets.iterdir()}
    assert made.keys() >= {"ca.pem", "broker.p12", "admin.properties"}
    make_secrets(named)
    assert {path.name: path.read_bytes() for path in named.kafka_secrets.iterdir()} == made


@pytest.mark.parametrize("bootstrap", ["", "k:1"], ids=["own broker", "cluster"])
def test_a_measurement_reads_the_secrets_of_a_cluster_only_where_it_uses_it(
    bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"SECRETS_DIR": str(tmp_path / "cluster"), "SECURITY": "scram", "BOOTSTRAP": bootstrap}
    monkeypatch.setattr(os, "environ", {**os.environ, **{f"MSM_KAFKA_{name}": value for name, value in there.items()}})
    expected = tmp_path / "cluster" if bootstrap else tmp_path / "own" / "secrets" / "kafka"
    assert own_settings(tmp_path / "own").kafka_secrets == expected


class StartedError(Exception):
    """Instead of a start."""


def test_the_broker_that_is_open_for_a_moment_has_a_log_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(name: str, *_: Any) -> None:
        raise StartedError(name)

    monkeypatch.setattr(broker.Process, "start", start)
    monkeypatch.setattr(broker, "refuse_taken_ports", lambda _: None)
    settings = Settings(data_dir=tmp_path, kafka_bootstrap="", kafka_security="scram")
    meta = settings.kafka_dir / "log" / "meta.properties"
    meta.parent.mkdir(parents=True)
    meta.touch()
    with pytest.raises(StartedError, match=r"^broker-open$"):
        broker.broker_command(settings)

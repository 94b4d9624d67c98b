"""Where data and brokers are: of this repository, unless one says otherwise, and what cannot be is named."""

from pathlib import Path

import pytest

from conf import REPOSITORY
from conf import settings as module
from conf.kafka import no_broker
from conf.settings import Settings, load_settings
from jobs.submit import job_env


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATA_DIR", "KAFKA_BOOTSTRAP"):
        monkeypatch.delenv(f"MSM_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    load_settings.cache_clear()


def test_a_command_in_another_folder_works_on_the_data_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings().data_dir == REPOSITORY / "data"
    monkeypatch.setenv("MSM_DATA_DIR", "data")
    assert Settings().data_dir == tmp_path / "data"


def test_a_folder_of_secrets_is_where_the_command_was_given_for_all_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job_env(Settings())["MSM_KAFKA_SECRETS_DIR"] == ""
    monkeypatch.setenv("MSM_KAFKA_SECRETS_DIR", "secrets")
    settings = Settings()
    monkeypatch.chdir("/")
    assert settings.kafka_secrets == tmp_path / "secrets"
    assert job_env(settings)["MSM_KAFKA_SECRETS_DIR"] == str(tmp_path / "secrets")


def test_a_data_dir_of_the_file_is_over_that_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "msm.yaml"
    file.write_text("data_dir: /srv/mine\n")
    monkeypatch.setitem(Settings.model_config, "yaml_file", file)
    monkeypatch.setattr(module, "SETTINGS_FILE", file)
    assert load_settings().data_dir == Path("/srv/mine")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("kafka-1.example.com:9092, kafka_2:9093", "kafka-1.example.com:9092,kafka_2:9093"),
        ("10.0.0.1:9092", "10.0.0.1:9092"),
        ("[::1]:9092,[fe80::1%eth0]:9092", "[::1]:9092,[fe80::1%eth0]:9092"),
    ],
)
def test_brokers_are_named_by_host_and_port(said: str, meant: str) -> None:
    assert Settings(kafka_bootstrap=said).bootstrap == meant


@pytest.mark.parametrize(
    "bootstrap", ["kafka", "kafka:", "kafka:many", "kafka:0", "::1:9092", "PLAINTEXT://k:9092", "k:1,", "me:pw@k:9092"]
)
def test_what_names_no_brokers_is_refused_and_not_repeated(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSM_KAFKA_BOOTSTRAP", bootstrap)
    with pytest.raises(SystemExit, match=r"MSM_KAFKA_BOOTSTRAP .*write host:port, or host:port,host:port") as refusal:
        load_settings()
    assert "pw" not in str(refusal.value)


def test_a_data_dir_that_cannot_be_written_to_is_told_from_a_bad_key(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data_dir = tmp_path / "file" / "data"
    with pytest.raises(SystemExit, match=rf"{data_dir}/auth\.secret .*Not a directory.*set MSM_DATA_DIR") as refusal:
        Settings(data_dir=data_dir).jwt_key()
    assert "remove it" not in str(refusal.value)


def test_what_is_wrong_with_a_broker_is_told_and_no_secret(tmp_path: Path) -> None:
    named = Settings(kafka_bootstrap="k:1", kafka_security="scram", kafka_secrets_dir=str(tmp_path)).acting_as("likes")
    (tmp_path / "likes.properties").write_text("password=seldom-told\n")
    assert no_broker(named) == "no Kafka broker answers at k:1: none takes a connection: check MSM_KAFKA_BOOTSTRAP"
    said = no_broker(named, ValueError("what it said"))
    for part in ("ValueError('what it said')", "MSM_KAFKA_SECURITY (now scram)", str(tmp_path / "likes.properties")):
        assert part in said
    assert "advertised.listeners" in said
    assert "seldom-told" not in said
    assert "make up starts one" in no_broker(Settings())

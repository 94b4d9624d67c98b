"""Settings: environment over file over default, and a wrong one is named with its place."""

import re
from pathlib import Path

import pytest
import yaml

from conf import settings as module
from conf.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MSM_{name.upper()}", raising=False)
    load_settings.cache_clear()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "msm.yaml"
    monkeypatch.setitem(Settings.model_config, "yaml_file", path)
    monkeypatch.setattr(module, "SETTINGS_FILE", path)
    return path


def test_the_defaults_of_the_contract() -> None:
    settings = Settings()
    assert settings.data_dir == Path("data").absolute()
    assert settings.embedded_kafka
    assert settings.bootstrap == "127.0.0.1:9092"
    assert settings.http_port == 8000
    assert settings.http_host == "127.0.0.1"
    assert settings.spark_master == "local[*]"
    assert (settings.like_weight, settings.comment_weight, settings.top, settings.rank_every_seconds) == (1, 2, 50, 5)


def test_environment_over_file_over_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(yaml.safe_dump({"http_port": 8100, "top": 7}))
    monkeypatch.setenv("MSM_HTTP_PORT", "8200")
    settings = load_settings()
    assert (settings.http_port, settings.top, settings.like_weight) == (8200, 7, 1)


def test_the_file_shows_every_setting_with_its_default() -> None:
    shown = yaml.safe_load(module.SETTINGS_FILE.read_text().replace("\n# ", "\n").partition("\n\n")[2])
    hidden = {"auth_secret", "former_auth_secrets"}
    assert set(shown) == set(Settings.model_fields) - hidden
    assert Settings(**shown) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "many"),
        ("HTTP_PORT", "0"),
        ("KAFKA_PORT", "65535"),
        ("RANK_EVERY_SECONDS", "0.5"),
        ("STORE", "/data"),
        ("STORE", "s3://bucket"),
        ("STORE", "s3a://key:secret@bucket"),
        ("STORE", "s3a://bucket/"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MSM_{name}", value)
    with pytest.raises(SystemExit, match=rf"MSM_{name} \(or {name.lower()} in .*msm.yaml\): \w"):
        load_settings()


@pytest.mark.parametrize(("name", "value"), [("COUNTS_TRIGGER", "real-time"), ("BESIDE", "true")])
def test_what_needs_folders_cannot_be_set_with_a_store(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("MSM_STORE", "s3a://bucket/prefix")
    monkeypatch.setenv(f"MSM_{name}", value)
    with pytest.raises(SystemExit, match=rf"MSM_{name} .*it cannot be with MSM_STORE"):
        load_settings()


@pytest.mark.parametrize("folder", ["checkpoint_dir", "lake_dir", "media_dir"])
def test_whoever_needs_a_folder_that_is_in_a_bucket_is_told(folder: str) -> None:
    with pytest.raises(SystemExit, match="MSM_STORE is s3a://bucket: unset it"):
        getattr(Settings(store="s3a://bucket"), folder)


def test_an_unknown_key_of_the_file_is_named(file: Path) -> None:
    file.write_text("htp_port: 8000\n")
    with pytest.raises(SystemExit, match=r"htp_port in .*msm\.yaml is no setting; did you mean http_port\?"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MSM_SHUFFLE_PARTITION", r"MSM_SHUFFLE_PARTITION is no setting; did you mean MSM_SHUFFLE_PARTITIONS\?"),
        ("MSM_COMPRESS_EVERYTHING", r"MSM_COMPRESS_EVERYTHING is no setting: docs/settings\.md has all of them"),
    ],
)
def test_an_unknown_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    monkeypatch.setenv(name, "64")
    load_settings()
    assert re.match(said, capsys.readouterr().err.strip())


def test_the_data_dir_is_where_one_was_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = []
    for said in ("./mine", "~/mine", "/srv/mine\r"):
        monkeypatch.setenv("MSM_DATA_DIR", said)
        found.append(Settings().data_dir)
    assert found == [tmp_path / "mine", tmp_path / "home" / "mine", Path("/srv/mine")]


def test_the_home_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSM_DATA_DIR", "~nobody-of-this-name/data")
    with pytest.raises(SystemExit, match=r"MSM_DATA_DIR.*Write the whole path"):
        load_settings()


def test_an_empty_variable_is_not_set(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("http_port: 8100\n")
    for name in ("HTTP_PORT", "DATA_DIR", "DEMO", "TOP", "HTTP_HOST"):
        monkeypatch.setenv(f"MSM_{name}", "")
    settings = load_settings()
    assert (settings.http_port, settings.data_dir, settings.demo, settings.top) == (
        8100,
        Path("data").absolute(),
        False,
        50,
    )
    assert settings.http_host == "127.0.0.1"


def test_an_empty_variable_takes_back_what_the_file_names(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("kafka_bootstrap: k:1\nstore: s3a://bucket\n")
    monkeypatch.setenv("MSM_KAFKA_BOOTSTRAP", "")
    monkeypatch.setenv("MSM_STORE", "")
    assert load_settings().embedded_kafka
    assert load_settings().store == ""


def test_the_secret_is_made_once_kept_private_and_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    made = settings.jwt_key()
    assert made == Settings(data_dir=tmp_path).jwt_key()
    assert len(made) >= 32
    assert (tmp_path / "auth.secret").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("MSM_AUTH_SECRET", "s" * 40)
    monkeypatch.setenv("MSM_FORMER_AUTH_SECRETS", "former")
    own = Settings(data_dir=tmp_path)
    assert (own.jwt_key(), own.former_auth_secrets) == ("s" * 40, "former")
    assert "s" * 40 not in repr(own)
    assert "'former'" not in repr(own)


FILES: dict[str, tuple[bytes, str]] = {
    "a tab": (b"top:\t7\n", "YAML"),
    "a line with a tab": (b"\ttop: 7\n", "YAML"),
    "a brace that stays open": (b"{top: 7", "YAML"),
    "no UTF-8": (b"\xff\xfe\0", "YAML"),
    "a NUL": (b"top: 7\0", "YAML"),
    "an object of Python": (b"top: !!python/object/apply:os.system ['id']", "YAML"),
    "5,000 levels": (b"top: " + b"[" * 5_000 + b"]" * 5_000, "YAML"),
    "a list": (b"- top: 7\n", "a setting a line"),
    "a text": (b"hello", "a setting a line"),
    "a number": (b"7", "a setting a line"),
    "a number as a name": (b"7: 8\n", "a setting a line"),
    "a text where a number belongs": (b"top: many", "MSM_TOP"),
    "a list where a number belongs": (b"http_port: [1]", "MSM_HTTP_PORT"),
    "a number that is huge": (b"top: 99999999999999999999999999", "MSM_TOP"),
    "infinitely many": (b"top: 1e999", "MSM_TOP"),
    "a secret that is short": (b"auth_secret: short\nhttp_host: 0.0.0.0", "MSM_AUTH_SECRET"),
}


@pytest.mark.parametrize(("content", "said"), FILES.values(), ids=FILES.keys())
def test_a_file_that_holds_no_settings_is_named(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(SystemExit, match=said) as refusal:
        load_settings()
    assert str(file) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_where_the_file_should_be_is_named(file: Path) -> None:
    file.mkdir()
    with pytest.raises(SystemExit, match=r"msm\.yaml cannot be read"):
        load_settings()


def test_an_empty_file_sets_nothing(file: Path) -> None:
    file.write_text("# nothing yet\n")
    assert load_settings() == Settings()


@pytest.mark.parametrize("content", [b"", b"short", b"\n", b"\xff" * 50])
def test_a_kept_secret_that_is_none_is_not_replaced_silently(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "auth.secret").write_bytes(content)
    with pytest.raises(SystemExit, match=r"auth\.secret holds no key"):
        Settings(data_dir=tmp_path).jwt_key()
    assert (tmp_path / "auth.secret").read_bytes() == content


def test_a_folder_where_the_secret_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "auth.secret").mkdir()
    with pytest.raises(SystemExit, match=r"auth\.secret holds no key"):
        Settings(data_dir=tmp_path).jwt_key()

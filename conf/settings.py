"""Settings, read once and typed: environment (`MSM_*`) over `conf/msm.yaml` over the defaults."""

import os
import re
import secrets
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]
from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from conf import REPOSITORY

PREFIX = "MSM_"
SETTINGS_FILE = Path(__file__).with_name("msm.yaml")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
STORE_SCHEME = "s3a://"
BROKER = re.compile(r"(\[[0-9A-Za-z:.%]+\]|[A-Za-z0-9._-]+):[1-9]\d{0,4}")
STORE = re.compile(rf"{STORE_SCHEME}[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9_.=-]+)*")
SECRET_MIN_BYTES = 32  # RFC 7518, section 3.2: no shorter than the hash of HS256


def _long_enough(secret: str) -> str:
    if len(secret.encode()) < SECRET_MIN_BYTES:
        raise ValueError(f"it needs at least {SECRET_MIN_BYTES} bytes: openssl rand -base64 48 makes some")
    return secret


class _Environment(EnvSettingsSource):
    """An empty variable is one that is not set, unless empty is what the setting is by default."""

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        return {name: value for name, value in super().__call__().items() if value != "" or fields[name].default == ""}


class Settings(BaseSettings):
    """Everything that one may set; `conf/msm.yaml` has a sentence for each but the secrets."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, yaml_file=SETTINGS_FILE, frozen=True)

    data_dir: Path = Field(Path("./data"), validate_default=True)
    store: str = ""
    kafka_bootstrap: str = ""
    kafka_port: int = Field(9092, ge=1, le=65_534)
    kafka_security: Literal["none", "scram", "plain", "tls"] = "none"
    kafka_secrets_dir: str = ""
    kafka_user: str = ""
    http_host: str = "127.0.0.1"
    http_port: int = Field(8000, ge=1, le=65_535)
    trending_host: str = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65_535)
    spark_master: str = "local[*]"
    auth_secret: str = Field("", repr=False)
    former_auth_secrets: str = Field("", repr=False)
    like_weight: int = Field(1, ge=0)
    comment_weight: int = Field(2, ge=0)
    top: int = Field(50, ge=1, le=1_000)
    rank_every_seconds: int = Field(5, ge=1, le=60)
    counts_trigger: Literal["auto", "micro-batch", "real-time"] = "auto"
    shuffle_partitions: int = Field(4, ge=1)
    max_facts_a_batch: int = Field(1_000_000, ge=1)
    image_max_bytes: int = Field(10 * 1024 * 1024, ge=1)
    wait_seconds: float = Field(10.0, ge=0, le=60)
    user_rate: float = Field(20.0, gt=0)
    user_burst: int = Field(500, ge=1)
    address_rate: float = Field(1_000.0, gt=0)
    address_burst: int = Field(5_000, ge=1)
    max_requests: int = Field(1_000, ge=1)
    max_connections: int = Field(10_000, ge=2)
    host_names: str = ""
    trusted_proxies: str = ""
    audit_every_seconds: int = Field(300, ge=0, le=86_400)
    demo: bool = False
    beside: bool = False
    _principal: str = PrivateAttr("")

    @field_validator("auth_secret")
    @classmethod
    def _no_weak_secret(cls, secret: str, info: ValidationInfo) -> str:
        """Without the end of line of the file it came from. On loopback a short one will do for a try: PyJWT warns."""
        bare = secret.strip()
        return bare if not secret or info.data.get("http_host") in LOOPBACK else _long_enough(bare)

    @field_validator("store")
    @classmethod
    def _a_bucket(cls, store: str) -> str:
        if store and not STORE.fullmatch(store):
            raise ValueError("write s3a://bucket or s3a://bucket/prefix; keys and endpoint are AWS's own variables")
        return store

    @field_validator("kafka_bootstrap")
    @classmethod
    def _addresses(cls, bootstrap: str) -> str:
        addresses = [address.strip() for address in bootstrap.split(",")]
        if bootstrap and not all(BROKER.fullmatch(address) for address in addresses):
            raise ValueError("write host:port, or host:port,host:port,...; an address of IPv6 in brackets: [::1]:9092")
        return ",".join(addresses)

    @field_validator("kafka_security")
    @classmethod
    def _known_to_the_broker(cls, security: str, info: ValidationInfo) -> str:
        if security in ("plain", "tls") and not info.data.get("kafka_bootstrap"):
            raise ValueError("it is for a cluster of yours: set MSM_KAFKA_BOOTSTRAP; the embedded broker knows scram")
        return security

    @field_validator("data_dir")
    @classmethod
    def _wherever_one_is(cls, folder: Path) -> Path:
        """Absolute from the start: what commands start is in the folder of the repository."""
        try:
            return Path(str(folder).strip()).expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"{error} Write the whole path") from None

    @field_validator("kafka_secrets_dir")
    @classmethod
    def _also_wherever_one_is(cls, folder: str) -> str:
        return str(cls._wherever_one_is(Path(folder))) if folder.strip() else ""

    @field_validator("counts_trigger", "beside")
    @classmethod
    def _not_with_a_store(cls, value: str | bool, info: ValidationInfo) -> str | bool:
        if value in ("real-time", True) and info.data.get("store"):
            raise ValueError("it cannot be with MSM_STORE, but only in folders of the data dir: unset one of them")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What nobody set is in the repository, whatever folder one is in.
        unset = InitSettingsSource(settings_cls, {"data_dir": REPOSITORY / "data"})
        return init_settings, _Environment(settings_cls), YamlConfigSettingsSource(settings_cls), unset

    @property
    def bootstrap(self) -> str:
        """Where Kafka is: the cluster that was named, or the embedded broker."""
        return self.kafka_bootstrap or f"127.0.0.1:{self.kafka_port}"

    @property
    def embedded_kafka(self) -> bool:
        return not self.kafka_bootstrap

    def acting_as(self, principal: str) -> "Settings":
        """The same settings for what is one principal of Kafka's (`contract/principals.py`)."""
        settings = self.model_copy()
        settings._principal = principal
        return settings

    def with_batches_of(self, facts: int) -> "Settings":
        """The same with smaller batches: `facts` at most."""
        return self.model_copy(update={"max_facts_a_batch": min(facts, self.max_facts_a_batch)})

    def counting_in_batches(self) -> "Settings":
        """The same, never in real time: for whoever waits for a commit."""
        return self.model_copy(update={"counts_trigger": "micro-batch"})

    @property
    def principal(self) -> str:
        """Whom Kafka knows us as, where it asks; empty until `acting_as` says."""
        return self._principal

    @property
    def kafka_login(self) -> str:
        """The name to log in with: the principal's own, unless the cluster calls it otherwise."""
        return self.kafka_user or self.principal

    @property
    def secured_kafka(self) -> bool:
        return self.kafka_security != "none"

    @property
    def kafka_secrets(self) -> Path:
        """The folder with a file for each principal, and the authority that signed the brokers."""
        return Path(self.kafka_secrets_dir or self.data_dir / "secrets" / "kafka")

    @property
    def beside_dir(self) -> Path:
        """What is rebuilt beside the running one, and what was switched off and may come back."""
        return self.data_dir / "beside"

    @property
    def seeds_dir(self) -> Path:
        """Facts beyond Kafka's retention, for checkpoints that were made anew."""
        return self.data_dir / "seeds"

    @property
    def _made_dir(self) -> Path:
        return self.beside_dir if self.beside else self.data_dir

    @property
    def kafka_dir(self) -> Path:
        return self.data_dir / "kafka"

    @property
    def lake_dir(self) -> Path:
        """For who needs a folder; `conf/store.py` knows of object stores too."""
        return self._in_files(self._made_dir / "lake")

    @property
    def checkpoint_dir(self) -> Path:
        return self._in_files(self._made_dir / "checkpoints")

    @property
    def media_dir(self) -> Path:
        return self._in_files(self.data_dir / "media")

    def _in_files(self, folder: Path) -> Path:
        if self.store:
            raise SystemExit(
                f"this reads {folder}, and MSM_STORE is {self.store}: unset it, and look at a copy in folders"
            )
        return folder

    @property
    def feeds_dir(self) -> Path:
        return self.data_dir / "feeds"

    @property
    def audit_result(self) -> Path:
        """The newest result of the auditor, replaced as a whole."""
        return self.data_dir / "audit" / "latest.json"

    @property
    def run_dir(self) -> Path:
        """Pid and state files of running processes."""
        return self._made_dir / "run"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    def jwt_key(self) -> str:
        """The JWT key: `MSM_AUTH_SECRET`, or one made at first start and kept in the data dir (mode 0600)."""
        return self.auth_secret or _kept_key(self.data_dir / "auth.secret")


def kept_secret(path: Path, label: str = "") -> str:
    """What the file holds, readable by its owner alone; a file that is not there is made, with a new secret."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(f"{label}{secrets.token_urlsafe(48)}\n")
        try:
            os.link(fresh, path)  # fails where another process was first: its key is the key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


def _kept_key(path: Path) -> str:
    try:
        return _long_enough(kept_secret(path))
    except OSError as error:
        raise SystemExit(
            f"{path} holds no key that can be read, nor can one be made ({error.strerror}): "
            "make the data dir yours, or set MSM_DATA_DIR to one that is"
        ) from None
    except ValueError:
        raise SystemExit(
            f"{path} holds no key of {SECRET_MIN_BYTES} bytes: put back the one that was there, or remove it, "
            "and then every token and every author's right to delete a post is void"
        ) from None


def _refuse_broken_file(path: Path) -> None:
    """SystemExit where the file is there and holds no settings by name."""
    if not path.exists():
        return
    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())[:300]
        raise SystemExit(f"{path} cannot be read as YAML in UTF-8: {why}") from None
    if not isinstance(content, dict | None) or not all(isinstance(name, str) for name in content or ()):
        raise SystemExit(f"{path} must hold a setting a line, like `top: 50`, and nothing else")


def _name_unknown_variables() -> None:
    """Say what the environment sets that is no setting: a slip of the pen changes nothing, or it is somebody else's."""
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name.upper() not in settings)
    for name in unknown:
        print(_no_setting(name, name, settings), file=sys.stderr)


def _no_setting(what: str, name: str, settings: Iterable[str]) -> str:
    closest = get_close_matches(name, settings, 1)
    hint = f"; did you mean {closest[0]}? (docs/settings.md)" if closest else ": docs/settings.md has all of them"
    return f"{what} is no setting{hint}"


def _sentence(name: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return _no_setting(f"{name} in {SETTINGS_FILE}", name, Settings.model_fields)
    return f"{PREFIX}{name.upper()} (or {name} in {SETTINGS_FILE}): {message}"


@cache
def load_settings() -> Settings:
    """The settings of this process; SystemExit with one sentence a wrong setting."""
    _name_unknown_variables()
    _refuse_broken_file(SETTINGS_FILE)
    try:
        return Settings()
    except ValidationError as error:
        lines = [_sentence(str(part["loc"][0]), part["type"], part["msg"]) for part in error.errors()]
        raise SystemExit("\n".join(lines)) from None

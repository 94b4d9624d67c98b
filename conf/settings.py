"""Settings, read once and typed: environment (`MSM_*`) over `conf/msm.yaml` over the defaults."""

import os
import secrets
from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

SETTINGS_FILE = Path(__file__).with_name("msm.yaml")


class Settings(BaseSettings):
    """Everything that one may set; `conf/msm.yaml` has a sentence for each."""

    model_config = SettingsConfigDict(env_prefix="MSM_", yaml_file=SETTINGS_FILE, frozen=True)

    data_dir: Path = Path("./data")
    kafka_bootstrap: str = ""
    kafka_port: int = Field(9092, ge=1, le=65_534)
    http_host: str = "127.0.0.1"
    http_port: int = Field(8000, ge=1, le=65_535)
    spark_master: str = "local[*]"
    auth_secret: str = Field("", repr=False)
    like_weight: int = Field(1, ge=0)
    comment_weight: int = Field(2, ge=0)
    top: int = Field(50, ge=1, le=1_000)
    rank_every_seconds: int = Field(5, ge=1, le=60)
    shuffle_partitions: int = Field(4, ge=1)
    max_facts_a_batch: int = Field(250_000, ge=1)
    image_max_bytes: int = Field(10 * 1024 * 1024, ge=1)
    wait_seconds: float = Field(10.0, ge=0, le=60)
    demo: bool = False
    beside: bool = False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)

    @property
    def bootstrap(self) -> str:
        """Where Kafka is: the cluster that was named, or the embedded broker."""
        return self.kafka_bootstrap or f"127.0.0.1:{self.kafka_port}"

    @property
    def embedded_kafka(self) -> bool:
        return not self.kafka_bootstrap

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
        return self._made_dir / "lake"

    @property
    def checkpoint_dir(self) -> Path:
        return self._made_dir / "checkpoints"

    @property
    def media_dir(self) -> Path:
        return self.data_dir / "media"

    @property
    def feeds_dir(self) -> Path:
        return self.data_dir / "feeds"

    @property
    def run_dir(self) -> Path:
        """Pid and state files of running processes."""
        return self._made_dir / "run"

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    def jwt_key(self) -> str:
        """The JWT key: `MSM_AUTH_SECRET`, or one made at first start and kept in the data dir (mode 0600)."""
        return self.auth_secret or _kept_secret(self.data_dir / "auth.secret")


def _kept_secret(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(secrets.token_urlsafe(48))
    try:
        os.link(fresh, path)  # fails where another process was first: its key is the key
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return path.read_text().strip()


@cache
def load_settings() -> Settings:
    """The settings of this process; SystemExit with one sentence a wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"MSM_{str(part['loc'][0]).upper()} (or {part['loc'][0]} in {SETTINGS_FILE}): {part['msg']}"
            for part in error.errors()
        ]
        raise SystemExit("\n".join(lines)) from None

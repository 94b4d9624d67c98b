"""A stack of one's own, beside whatever else runs, in a shell that may name a cluster."""

import os
import random
from pathlib import Path

from conf.settings import Settings
from runtime.broker import is_taken

FREE_PORTS = range(21_000, 23_000, 10)


def own_settings(folder: Path, **more: str) -> Settings:
    """Also for every process that is started from here; free ports where none are set."""
    _take_free_ports()
    not_of_the_shell = {"MSM_STORE": "", "MSM_AUDIT_EVERY_SECONDS": "0", "MSM_METRICS_PORT": "0"}
    os.environ.update(not_of_the_shell | more, MSM_DATA_DIR=str(folder.absolute()))
    if Settings().embedded_kafka:  # the secrets are those of a cluster
        os.environ.update(MSM_KAFKA_SECRETS_DIR="", MSM_KAFKA_USER="")
    return Settings()


def _take_free_ports() -> None:
    """Three in a row, for broker, controller and website, in the environment, where none are set there.

    From a place of chance: another that looks for some takes them only once its broker is up.
    """
    if {"MSM_KAFKA_PORT", "MSM_HTTP_PORT"} <= os.environ.keys():
        return
    for first in random.sample(FREE_PORTS, len(FREE_PORTS)):
        if not any(is_taken(port) for port in range(first, first + 3)):
            os.environ.setdefault("MSM_KAFKA_PORT", str(first))
            os.environ.setdefault("MSM_HTTP_PORT", str(first + 2))
            return
    raise SystemExit("no three ports in a row are free: set MSM_KAFKA_PORT and MSM_HTTP_PORT")

"""A service with a user, with and without a broker behind it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from one_broker import OneBroker

from conf.settings import Settings
from producers import comments, likes, posting
from service.app import build_app
from service.auth import issue_token

SERVICES = (posting.SERVICE, likes.SERVICE, comments.SERVICE)
JWT_KEY = "a secret that is long enough for HS256"


def settings(folder: Path, bootstrap: str) -> Settings:
    return Settings(data_dir=folder, kafka_bootstrap=bootstrap, auth_secret=JWT_KEY, image_max_bytes=200_000)


@pytest.fixture
def away(tmp_path: Path) -> Settings:
    """Settings that name a broker that is not there."""
    return settings(tmp_path, "127.0.0.1:1")


@pytest.fixture
def lonely(away: Settings) -> Iterator[TestClient]:
    """The three services without their broker."""
    with TestClient(build_app(SERVICES, away)) as client:
        yield client


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneBroker]:
    with OneBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.start()


@pytest.fixture
def live(away: Settings, broker: OneBroker) -> Settings:
    return away.model_copy(update={"kafka_bootstrap": broker.bootstrap})


@pytest.fixture
def client(live: Settings) -> Iterator[TestClient]:
    """The three services and their broker, connected."""
    with connected(live) as client:
        yield client


@pytest.fixture(scope="class")
def shared_client(broker: OneBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The same for all tests of a class, which leave nothing behind."""
    with connected(settings(tmp_path_factory.mktemp("shared"), broker.bootstrap)) as client:
        yield client


@contextmanager
def connected(settings: Settings) -> Iterator[TestClient]:
    app = build_app(SERVICES, settings)
    with TestClient(app) as client:
        app.state.publisher.wait_until_ready(timeout=30)
        yield client


@pytest.fixture
def by(away: Settings) -> Callable[[str], dict[str, str]]:
    """The headers of a request by that user."""
    return lambda user: {"Authorization": f"Bearer {issue_token(away, user, 60)}"}

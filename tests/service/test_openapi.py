"""schemathesis against each service: nothing that its description allows, or forbids, makes it fail or lie.

Twelve examples an operation here; `OPENAPI_EXAMPLES=2000` looks longer.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import positive_data_acceptance

from conf.settings import Settings
from feeds import refresh_feed, trending_feed
from producers import comments, likes, posting
from runtime import web
from service.auth import issue_token
from service.server import listen, server_config
from tests.feeds.serving import wait_for
from tests.producers.one_broker import OneBroker

pytestmark = pytest.mark.kafka
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "12"))
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
# A picture and a cursor are more than a schema can say.
NOT_ASKED = [positive_data_acceptance]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneBroker]:
    with OneBroker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.start()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(server_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.mark.parametrize(
    "module",
    [posting, likes, comments, refresh_feed, trending_feed, web],
    ids=lambda module: module.__name__.rpartition(".")[2],
)
def test_the_description_holds(module: object, broker: OneBroker, tmp_path: Path) -> None:
    chosen = Settings(
        data_dir=tmp_path,
        kafka_bootstrap=broker.bootstrap,
        auth_secret="s" * 32,
        wait_seconds=0,
        demo=True,
        user_burst=10**9,
        address_burst=10**9,
    )
    with served(module.create_app(chosen)) as url:  # type: ignore[attr-defined]
        _await_health(url)
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        headers = {"Authorization": f"Bearer {issue_token(chosen, 'ada', 3_600)}"}
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) > 2
        for operation in operations:
            if not operation.path.endswith("/stream"):  # those never end
                for mode in MODES:
                    _look(operation, mode, headers)


def _await_health(url: str) -> None:
    import httpx2

    wait_for(lambda: httpx2.get(f"{url}/healthz", trust_env=False).status_code == 200)


def _look(operation: schemathesis.APIOperation, mode: schemathesis.GenerationMode, headers: dict[str, str]) -> None:  # type: ignore[name-defined]
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES < 100,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def look(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, excluded_checks=NOT_ASKED)

    try:
        look()
    except Unsatisfiable:  # nothing can be wrong with a request that carries nothing
        assert not operation.body

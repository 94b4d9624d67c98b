"""schemathesis against each service: nothing that its description allows, or forbids, makes it fail or lie.

Twelve examples an operation here; `OPENAPI_EXAMPLES=2000` looks longer.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from conf.settings import Settings
from runtime import web
from service.app import build_app
from service.auth import issue_token
from tests.feeds.serving import served, wait_for

pytestmark = pytest.mark.kafka
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "12"))
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
# A picture and a cursor are more than a schema can say.
NOT_ASKED = [positive_data_acceptance]
# A form says all as text, so a caption of another type is a caption: tests/producers/test_pictures.py looks at forms.
NOT_ASKED_OF_FORMS = [*NOT_ASKED, negative_data_rejection]


@pytest.mark.parametrize(
    "make",
    [*(partial(build_app, [service]) for service in web.SERVICES), web.create_app],
    ids=[*(service.name for service in web.SERVICES), "web"],
)
def test_the_description_holds(make: Callable[[Settings], FastAPI], kafka: Settings, tmp_path: Path) -> None:
    """Of each service alone with fewer examples: all of their operations are looked at together, too."""
    chosen = Settings(
        data_dir=tmp_path,
        kafka_bootstrap=kafka.bootstrap,
        auth_secret="s" * 32,
        wait_seconds=0,
        demo=True,
        user_burst=10**9,
        address_burst=10**9,
    )
    with served(make(chosen)) as url:
        _await_health(url)
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        headers = {"Authorization": f"Bearer {issue_token(chosen, 'ada', 3_600)}"}
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) > 2
        for operation in operations:
            if not operation.path.endswith("/stream"):  # those never end
                for mode in MODES:
                    _look(operation, mode, headers, EXAMPLES if make is web.create_app else min(EXAMPLES, 3))


def _await_health(url: str) -> None:
    import httpx2

    wait_for(lambda: httpx2.get(f"{url}/healthz", trust_env=False, timeout=30).status_code == 200)


def _look(  # type: ignore[name-defined]
    operation: schemathesis.APIOperation, mode: schemathesis.GenerationMode, headers: dict[str, str], examples: int
) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=EXAMPLES < 100,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def look(case: schemathesis.Case) -> None:
        is_form = case.media_type == "multipart/form-data"
        case.call_and_validate(headers=headers, excluded_checks=NOT_ASKED_OF_FORMS if is_form else NOT_ASKED)

    try:
        look()
    except Unsatisfiable:  # nothing can be wrong with a request that carries nothing
        assert not operation.body

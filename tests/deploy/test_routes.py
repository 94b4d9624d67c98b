"""From outside each request comes to the service that answers it, and nothing of operations is to be had."""

import re

import pytest
from fastapi.routing import APIRoute

from runtime.web import SERVICES
from tests.deploy.manifests import Manifest, of_kind, settings

RULES = of_kind("HTTPRoute")["mysocialmedia"]["spec"]["rules"]
REQUESTS = [
    (method, re.sub(r"\{.+?\}", "an-id_0", route.path), service.name)
    for service in SERVICES
    for route in service.router.routes
    if isinstance(route, APIRoute)
    for asked in route.methods
    for method in ((asked, "HEAD") if asked == "GET" else (asked,))
]
ORDERS = [("PathPrefix", "Exact", "RegularExpression"), ("RegularExpression", "PathPrefix", "Exact")]
"""What rules over what, last of all first: Gateway API leaves it to the gateway where a pattern stands."""


def weight(match: Manifest, method: str, path: str, order: tuple[str, ...]) -> tuple[int, int, int] | None:
    """How closely a match fits; None where it does not."""
    if match.get("method", method) != method:
        return None
    kind, value = match["path"]["type"], match["path"]["value"]
    fits = {
        "RegularExpression": re.fullmatch(value, path) is not None,
        "Exact": path == value,
        "PathPrefix": path == value or path.startswith(f"{value.rstrip('/')}/"),
    }[kind]
    return (order.index(kind), len(value), int("method" in match)) if fits else None


def rule(method: str, path: str, order: tuple[str, ...] = ORDERS[0]) -> Manifest:
    """The rule that fits best."""
    fitting = [
        (how, number)
        for number, one in enumerate(RULES)
        for match in one["matches"]
        if (how := weight(match, method, path, order)) is not None
    ]
    found: Manifest = RULES[max(fitting)[1]]
    return found


def backend(method: str, path: str, order: tuple[str, ...] = ORDERS[0]) -> str | None:
    """The service that gets the request; None where the gateway itself refuses."""
    found = rule(method, path, order).get("backendRefs")
    return str(found[0]["name"]) if found else None


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order[-1]} first")
@pytest.mark.parametrize(("method", "path", "service"), REQUESTS)
def test_a_request_comes_to_the_service_that_answers_it(
    method: str, path: str, service: str, order: tuple[str, ...]
) -> None:
    assert backend(method, path, order) == service.replace("_", "-")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_operations_are_not_to_be_had_from_outside(path: str) -> None:
    assert backend("GET", path) is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/app.js", "/audit"])
def test_the_page_is_the_websites(path: str, method: str) -> None:
    assert backend(method, path) == "website"


def test_streams_of_events_are_not_cut_off() -> None:
    for path in ("/feed/stream", "/trending/stream"):
        assert rule("GET", path)["timeouts"] == {"request": "0s"}


def test_the_services_go_by_the_name_of_the_route_and_listen_on_its_ports() -> None:
    assert of_kind("HTTPRoute")["mysocialmedia"]["spec"]["hostnames"] == [settings()["MSM_HOST_NAMES"]]
    ports = {name: service["spec"]["ports"][0]["port"] for name, service in of_kind("Service").items()}
    backends = [ref for one in RULES for ref in one.get("backendRefs", ())]
    assert backends
    assert all(ports[ref["name"]] == ref["port"] for ref in backends)

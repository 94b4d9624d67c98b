"""What every answer carries, and who may ask at all: no foreign name, no foreign page."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from conf.settings import Settings, load_settings
from service.app import Service, build_app
from service.middleware import Failures
from tests.service.conftest import Running, Serve

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HOME = "localhost:8000"


EACH: dict[int, tuple[str, str, dict[str, str]]] = {
    200: ("GET", "/hello", {}),
    401: ("PUT", "/me", {}),
    403: ("GET", "/hello", {"Sec-Fetch-Site": "cross-site"}),
    404: ("GET", "/nowhere", {}),
    405: ("DELETE", "/hello", {}),
    413: ("POST", "/echo", {"Content-Type": "application/json"}),
    421: ("GET", "/hello", {"Host": "evil.example"}),
    422: ("POST", "/echo", {}),
    500: ("GET", "/boom", {}),
}


def test_every_answer_has_the_usual_headers(running: Running) -> None:
    for status, (method, path, headers) in EACH.items():
        body = b"x" * 70_000 if status == 413 else None
        answer = running.http.request(method, path, headers=headers, content=body)
        assert answer.status_code == status
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, status
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "geolocation=()" in answer.headers["Permissions-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "server" not in answer.headers


def test_who_goes_away_while_sending_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    async def upload(*_: object) -> None:
        raise ClientDisconnect

    send = AsyncMock()
    asyncio.run(Failures(upload)({"type": "http", "method": "POST", "path": "/posts"}, AsyncMock(), send))
    send.assert_not_called()
    assert "request failed" not in capsys.readouterr().out


def test_a_refusal_for_haste_has_them_too(serve: Serve) -> None:
    with serve(address_rate=0.01, address_burst=1) as running:
        running.http.get("/hello")
        answer = running.http.get("/hello")
        assert answer.status_code == 429
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7", "web:8000", "a.localhost:1", "S.EU"],
)
def test_our_own_names_and_addresses_are_answered(running: Running, host: str) -> None:
    assert running.http.get("/hello", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "x.example.org",
        "[x",
        "e.f.",
    ],
)
def test_a_name_that_somebody_else_may_own_is_not_answered(running: Running, host: str) -> None:
    answer = running.http.get("/hello", headers={"Host": host})
    assert answer.status_code == 421
    assert "MSM_HOST_NAMES" in answer.json()["detail"]


FOREIGN = {
    "a form of another site": ("POST", {"Origin": "http://evil.example"}),
    "a sandboxed frame": ("POST", {"Origin": "null"}),
    "an origin that is none": ("POST", {"Origin": "http://["}),
    "another port of this machine": ("POST", {"Origin": "http://localhost:3000"}),
    "a no-cors request": ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    "a picture on another site": ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    "an event source of another site": ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}),
    "a page of a neighbour": ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}),
    "a form that navigates": ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
}
OWN = {
    "no browser": ("POST", {}),
    "our own page": ("POST", {"Origin": f"http://{HOME}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}),
    "an address typed in": ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}),
    "a link on another site": ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
}


@pytest.mark.parametrize(("method", "headers"), FOREIGN.values(), ids=FOREIGN.keys())
def test_pages_of_other_sites_get_nothing(running: Running, method: str, headers: dict[str, str]) -> None:
    path = "/hello" if method == "GET" else "/ignore"
    assert running.http.request(method, path, headers={"Host": HOME, **headers}).status_code == 403


@pytest.mark.parametrize(("method", "headers"), OWN.values(), ids=OWN.keys())
def test_our_own_page_and_no_page_do(running: Running, method: str, headers: dict[str, str]) -> None:
    path = "/hello" if method == "GET" else "/ignore"
    assert running.http.request(method, path, headers={"Host": HOME, **headers}).status_code == 200


def test_the_head_of_an_answer_says_its_length_and_is_all(running: Running) -> None:
    answer = running.http.head("/hello")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "7", b"")
    assert running.http.head("/echo").status_code == 405
    assert running.http.head("/stream").status_code == 405


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PATCH", "BREW"])
def test_other_methods_do_nothing(running: Running, method: str) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    answer = running.http.request(method, "/hello", headers=headers)
    assert answer.status_code in (400, 403, 405)
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_a_service_that_is_unwell_may_be_ready_and_one_that_is_not_says_why(tmp_path: Path) -> None:
    def answers(readiness: str | None) -> list[tuple[int, str]]:
        service = Service("one", APIRouter(), lambda *_: nullcontext(), lambda _: "no Kafka", lambda _: readiness)
        client = TestClient(build_app([service], Settings(data_dir=tmp_path)), base_url=f"http://{HOME}")
        found = [client.get(path) for path in ("/healthz", "/readyz")]
        return [(answer.status_code, answer.json()["services"]["one"]) for answer in found]

    assert answers(None) == [(503, "no Kafka"), (200, "ok")]
    assert answers("it builds its view") == [(503, "no Kafka"), (503, "it builds its view")]


def test_who_says_nothing_of_readiness_is_ready(running: Running) -> None:
    assert running.http.get("/readyz").json() == {"status": "ok", "services": {"trouble": "ok"}}


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_the_end_of_line_of_a_secret_from_a_file_is_none_of_it(host: str) -> None:
    assert Settings(http_host=host, auth_secret="x" * 32 + "\n").jwt_key() == "x" * 32


def test_a_secret_of_nothing_but_space_is_told() -> None:
    with pytest.raises(ValidationError, match="at least 32 bytes"):
        Settings(http_host="192.0.2.1", auth_secret=" " * 40)


@pytest.mark.parametrize("secret", ["short", "x" * 31])
def test_a_secret_that_can_be_guessed_stays_on_loopback(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("MSM_AUTH_SECRET", secret)
    load_settings.cache_clear()
    assert load_settings().auth_secret == secret  # on loopback one may try things out
    monkeypatch.setenv("MSM_HTTP_HOST", "192.0.2.1")
    load_settings.cache_clear()
    with pytest.raises(SystemExit, match=r"MSM_AUTH_SECRET.*at least 32 bytes") as refusal:
        load_settings()
    load_settings.cache_clear()
    assert secret not in str(refusal.value)


def test_the_docs_load_nothing_and_run_nothing(running: Running) -> None:
    page = running.http.get("/docs")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert "<script" not in page.text
    assert running.http.get("/redoc").status_code == 404

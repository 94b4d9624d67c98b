"""Who a command is from: only a good token says so."""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import jwt
import pytest
from fastapi.testclient import TestClient

from tests.producers.conftest import JWT_KEY


def good(**changed: Any) -> dict[str, Any]:
    """What a token of this moment says; None leaves a claim out."""
    soon = datetime.now(timezone.utc) + timedelta(hours=1)
    claims = {"sub": "ada", "aud": "mysocialmedia", "exp": soon, **changed}
    return {name: value for name, value in claims.items() if value is not None}


def like_with(client: TestClient, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return client.put("/posts/p1/like", headers=headers).status_code


def signed(claims: dict[str, Any], key: str = JWT_KEY, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(good, id="usual"),
        pytest.param(lambda: good(aud=None), id="no audience"),
        pytest.param(lambda: good(aud=["others", "mysocialmedia"]), id="several audiences"),
        pytest.param(lambda: good(iat=datetime.now(timezone.utc) + timedelta(minutes=5)), id="issued ahead"),
    ],
)
def test_a_good_token_gets_as_far_as_the_broker(lonely: TestClient, claims: Callable[[], dict[str, Any]]) -> None:
    assert like_with(lonely, signed(claims())) == 503


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: signed(good(exp=datetime.now(timezone.utc) - timedelta(seconds=1))), id="expired"),
        pytest.param(lambda: signed(good(aud="somebody else")), id="wrong audience"),
        pytest.param(lambda: signed(good(aud=["somebody else"])), id="wrong audiences"),
        pytest.param(lambda: signed(good(), key="another key that is long enough for it"), id="wrong key"),
        pytest.param(lambda: signed(good(), algorithm="none", key=""), id="none alg"),
        pytest.param(lambda: signed(good(), algorithm="HS512", key=JWT_KEY * 2), id="other alg"),
        pytest.param(lambda: signed(good(exp=None)), id="no exp"),
        pytest.param(lambda: signed(good(sub=None)), id="no sub"),
        pytest.param(lambda: signed(good(sub="not an identifier")), id="bad sub"),
        pytest.param(lambda: signed(good(sub="x" * 65)), id="long sub"),
        pytest.param(lambda: "garbage", id="garbage"),
        pytest.param(lambda: "", id="empty"),
    ],
)
def test_a_bad_token_is_refused(lonely: TestClient, token: Callable[[], str]) -> None:
    assert like_with(lonely, token()) == 401


HEADS = {
    "half a surrogate": b'{"alg":"HS256","crit":["\\ud800"]}',
    "a long name": b'{"alg":"HS256","crit":["' + "é".encode() * 9_000 + b'"]}',
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_of_a_bad_token_little_is_told_and_in_ascii(lonely: TestClient, head: bytes) -> None:
    parts = (urlsafe_b64encode(part).rstrip(b"=").decode() for part in (head, b"{}", b"x" * 32))
    answer = lonely.put("/posts/p1/like", headers={"Authorization": f"Bearer {'.'.join(parts)}"})
    assert answer.status_code == 401
    assert answer.content.isascii()
    assert len(answer.content) < 2_000


def test_a_command_without_a_token_is_told_what_to_send(lonely: TestClient) -> None:
    answer = lonely.delete("/posts/p1")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["detail"]


def test_basic_credentials_are_no_token(lonely: TestClient) -> None:
    assert lonely.put("/posts/p1/like", headers={"Authorization": "Basic YWRhOmFkYQ=="}).status_code == 401

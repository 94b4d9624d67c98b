"""What is refused before it reaches the broker, and what happens while there is none."""

import itertools
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import SSLError
from types import SimpleNamespace
from unittest.mock import Mock
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from kafka.errors import KafkaTimeoutError, SaslAuthenticationFailedError, TopicAuthorizationFailedError
from one_broker import OneBroker
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from conf.settings import Settings
from producers import likes, posting, publisher
from producers.ownership import Ownership
from service.app import build_app
from service.auth import issue_token
from tests.feeds.serving import free_ports, wait_for

By = Callable[[str], dict[str, str]]


def test_a_service_starts_without_its_broker_and_says_what_is_wrong(lonely: TestClient, by: By) -> None:
    answer = lonely.put("/posts/p1/like", headers=by("ada"))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in answer.text  # that is said to operators only
    health = lonely.get("/healthz")
    assert "Kafka broker at 127.0.0.1:1" in health.text
    assert (health.status_code, health.json()["status"]) == (503, "unwell")


def test_what_is_refused_without_its_broker_is_counted_and_the_service_stays_ready(lonely: TestClient, by: By) -> None:
    def refused() -> float:
        return REGISTRY.get_sample_value("msm_facts_refused_total") or 0

    before = refused()
    lonely.put("/posts/p1/like", headers=by("ada"))
    lonely.put("/posts/p1/like")  # nobody's
    assert refused() == before + 1
    assert lonely.get("/readyz").status_code == 200


def test_a_picture_is_not_kept_for_a_post_that_cannot_be(lonely: TestClient, away: Settings, by: By) -> None:
    answer = lonely.post("/posts", files={"image": ("a.png", b"x")}, headers=by("ada"))
    assert answer.status_code == 503
    assert not away.media_dir.exists()


@pytest.mark.kafka
def test_a_service_recovers_when_its_broker_comes_without_a_restart(away: Settings, by: By, tmp_path: Path) -> None:
    with OneBroker(tmp_path) as broker:
        app = build_app([likes.SERVICE], away.model_copy(update={"kafka_bootstrap": broker.bootstrap}))
        with TestClient(app) as client:
            assert client.put("/posts/p1/like", headers=by("early")).status_code == 503
            broker.start()
            app.state.publisher.wait_until_ready(30)
            assert client.put("/posts/p1/like", headers=by("later")).status_code == 202
        [value] = broker.values("likes")
    assert b'"later"' in value


BODIES = {
    "no text": {},
    "empty text": {"text": ""},
    "long text": {"text": "x" * 2_201},
    "text that is a number": {"text": 1},
    "text that is null": {"text": None},
}


@pytest.mark.kafka
class TestBadInput:
    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
    def test_a_bad_comment_is_refused(self, shared_client: TestClient, by: By, body: dict[str, object]) -> None:
        assert shared_client.post("/posts/p1/comments", json=body, headers=by("ada")).status_code == 422

    @pytest.mark.parametrize("path", ["/posts/a%20b/like", f"/posts/{'x' * 65}/like", "/posts/caf%C3%A9/like"])
    def test_an_id_that_is_none_is_refused(self, shared_client: TestClient, by: By, path: str) -> None:
        assert shared_client.put(path, headers=by("ada")).status_code == 422

    @pytest.mark.parametrize(
        "url",
        [
            "javascript:alert(1)",
            "data:image/png;base64,AAAA",
            "//example.org/a.png",
            "/media/../auth.secret",
            "/media/x.png",
            "https://",
            "https://example.org/a b",
            "https://example.org/a\n",
            "",
            "https://example.org/" + "x" * 2_048,
        ],
    )
    def test_an_address_that_is_no_picture_is_refused(self, shared_client: TestClient, by: By, url: str) -> None:
        assert shared_client.post("/posts", json={"image_url": url}, headers=by("ada")).status_code == 422

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{", b"\xff", b'"x"', b'{"image_url":"http://x/","caption":"\\ud800"}']
    )
    def test_a_body_that_is_no_object_is_refused(self, shared_client: TestClient, by: By, body: bytes) -> None:
        headers = {**by("ada"), "Content-Type": "application/json"}
        assert shared_client.post("/posts", content=body, headers=headers).status_code == 422
        assert shared_client.post("/posts/p1/comments", content=body, headers=headers).status_code in (400, 422)

    def test_half_a_surrogate_is_no_text(self, shared_client: TestClient, by: By) -> None:
        headers = {**by("ada"), "Content-Type": "application/json"}
        answer = shared_client.post("/posts/p1/comments", content=b'{"text":"\\ud800"}', headers=headers)
        assert answer.status_code == 422

    def test_a_long_caption_is_refused(self, shared_client: TestClient, by: By) -> None:
        body = {"image_url": "https://example.org/a.jpg", "caption": "x" * 2_201}
        assert shared_client.post("/posts", json=body, headers=by("ada")).status_code == 422

    def test_a_body_that_says_it_is_too_large_is_not_read(self, shared_client: TestClient, by: By) -> None:
        answer = shared_client.post("/posts/p1/comments", json={"text": "x" * 70_000}, headers=by("ada"))
        assert answer.status_code == 413

    def test_a_body_that_turns_out_too_large_is_cut_off(self, shared_client: TestClient, by: By) -> None:
        def endless() -> Iterator[bytes]:
            yield b'{"text":"'
            for _ in range(100):
                yield b"x" * 1_000

        headers = {**by("ada"), "Content-Type": "application/json"}
        assert shared_client.post("/posts/p1/comments", content=endless(), headers=headers).status_code == 413

    def test_an_empty_idempotency_key_is_refused(self, shared_client: TestClient, by: By) -> None:
        headers = {**by("ada"), "Idempotency-Key": ""}
        body = {"image_url": "https://example.org/a.jpg"}
        assert shared_client.post("/posts", json=body, headers=headers).status_code == 422


def test_an_id_proves_its_owner_and_nobody_else() -> None:
    ownership = Ownership("key")
    made = ownership.new_id(uuid4(), "ada")
    assert not ownership.is_stranger(made, "ada")
    assert ownership.is_stranger(made, "grace")
    assert ownership.is_stranger(made, "ada", "p1")
    assert Ownership("another key").is_stranger(made, "ada")
    assert len(made) <= 64


FORMER = "the-key-that-was-there-before-this-one"


def test_a_former_key_says_whose_an_id_is_and_nothing_else(away: Settings, by: By) -> None:
    old = Ownership(FORMER)
    path = f"/posts/{old.new_id(uuid4(), 'ada')}"
    token = issue_token(away.model_copy(update={"auth_secret": FORMER}), "ada", 60)

    def deleted(former: str, headers: dict[str, str]) -> int:
        settings = away.model_copy(update={"former_auth_secrets": former})
        with TestClient(build_app([posting.SERVICE], settings)) as client:
            return client.delete(path, headers=headers).status_code

    assert deleted("", by("ada")) == 403
    assert deleted(f"an-older-one\n{FORMER}", by("ada")) == 503, "as far as the broker, which is away"
    assert deleted(FORMER, by("eve")) == 403
    assert deleted(FORMER, {"Authorization": f"Bearer {token}"}) == 401
    new = Ownership("the key of now", [FORMER])
    assert old.is_stranger(new.new_id(uuid4(), "ada"), "ada"), "it makes no ids"


def test_a_repeatable_id_has_the_form_of_a_uuid_7() -> None:
    made = Ownership("key").repeatable("post", "ada", "retry-1")
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made == Ownership("key").repeatable("post", "ada", "retry-1")
    assert made != Ownership("key").repeatable("comment", "ada", "retry-1")
    assert made != Ownership("key").repeatable("post", "ada", "retry-1", "p1")


class StandIn:
    """A producer that was made, and then is asked for a topic; its metadata came before that."""

    _metadata = SimpleNamespace(_last_successful_refresh_ms=0.0)

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def partitions_for(self, _: str) -> set[int]:
        if self._error:
            raise self._error
        return {0}

    def close(self, timeout: float) -> None: ...


WHY = {
    "no rights": (StandIn(TopicAuthorizationFailedError({"likes"})), "cannot publish to .*TopicAuthorizationFailed"),
    "slow": (StandIn(KafkaTimeoutError("after 3.0 secs.")), "does not answer.*after 3.0 secs"),
    "no trust": (SSLError("certificate verify failed"), "cannot publish to .*certificate verify failed"),
    "wrong password": (SaslAuthenticationFailedError("no"), "does not answer.*SaslAuthenticationFailed"),
    "no broker": (KafkaTimeoutError("Unable to bootstrap"), "does not answer.*Unable to bootstrap"),
}


@pytest.mark.parametrize(("made", "why"), WHY.values(), ids=WHY.keys())
def test_why_a_publisher_waits_is_told_as_it_is_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, made: StandIn | Exception, why: str
) -> None:
    connecting = Mock(side_effect=itertools.repeat(made))
    monkeypatch.setattr(publisher, "kafka_producer", connecting)
    with capture_logs() as logs:
        one = publisher.Publisher(Settings(kafka_bootstrap="127.0.0.1:1"), topics=["likes"])
        wait_for(lambda: connecting.call_count > 2)
        one.close()
    [logged] = [entry["reason"] for entry in logs if entry["event"] == "publisher waits"]
    assert one.complaint() == logged
    assert re.search(why, logged)
    assert "has no topic" not in logged


def test_a_publisher_that_nobody_asks_for_anything_notices_that_its_broker_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "kafka_producer", lambda *_: StandIn())
    monkeypatch.setattr(publisher, "LOOK_SECONDS", 0.05)
    port = free_ports(1)
    one = publisher.Publisher(Settings(kafka_bootstrap=f"127.0.0.1:{port}"), topics=["likes"])
    try:
        wait_for(lambda: "none takes a connection" in str(one.complaint()))
        one.check()  # whether a command is taken is for the command to find out
        with socket.create_server(("127.0.0.1", port)):
            wait_for(lambda: one.complaint() is None)
    finally:
        one.close()


def test_a_publisher_that_cannot_have_a_thread_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no_threads(options: dict[str, str]) -> None:
        asked.append(options["bootstrap_servers"])
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(publisher, "kafka_producer", no_threads)
    one = publisher.Publisher(Settings(kafka_bootstrap="127.0.0.1:1"))
    wait_for(lambda: len(asked) > 1)
    assert "can't start new thread" in str(one.complaint())
    one.close()

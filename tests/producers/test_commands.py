"""The three services with their broker: what they answer, and what they write."""

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest
from fastapi.testclient import TestClient
from one_broker import OneBroker

from conf.settings import Settings
from contract.facts import FACT_BY_TYPE
from contract.results import Token
from producers.commands import IN_DOUBT, IN_DOUBT_WITHOUT_KEY
from producers.publisher import InDoubt
from service.app import build_app

pytestmark = pytest.mark.kafka
By = Callable[[str], dict[str, str]]
URL = "https://example.org/sea.jpg"


def new_post(client: TestClient, headers: dict[str, str], **body: str) -> dict[str, Any]:
    answer = client.post("/posts", json={"image_url": URL, **body}, headers=headers)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def written(broker: OneBroker, topic: str, answer: dict[str, Any]) -> dict[str, Any]:
    facts = [json.loads(value) for value in broker.values(topic)]
    [fact] = [fact for fact in facts if fact["event_id"] == answer["event_id"]]
    FACT_BY_TYPE[fact["event_type"]].model_validate(fact)
    return dict(fact)


def test_a_post_is_written_as_the_contract_says(client: TestClient, broker: OneBroker, by: By) -> None:
    answer = new_post(client, by("ada"), caption="The sea 🌊")
    fact = written(broker, "posts", answer)
    assert (fact["user_id"], fact["caption"], fact["image_url"]) == ("ada", "The sea 🌊", URL)
    assert fact["post_id"] == answer["post_id"]
    token = Token.parse(answer["token"])
    assert (token.topic, token.post_id) == ("posts", answer["post_id"])


def test_a_fact_is_the_users_of_the_token_whoever_the_body_names(client: TestClient, broker: OneBroker, by: By) -> None:
    def said(method: str, path: str, **body: str) -> dict[str, Any]:
        named = {**body, "user_id": "grace"}
        answer = client.request(method, path, json=named, params={"user_id": "grace"}, headers=by("ada"))
        assert answer.status_code in (201, 202), answer.text
        return dict(answer.json())

    made = said("POST", "/posts", image_url=URL)
    post = f"/posts/{made['post_id']}"
    comment = said("POST", f"{post}/comments", text="Wow")
    answers = [
        ("posts", made),
        ("comments", comment),
        ("likes", said("PUT", f"{post}/like")),
        ("likes", said("DELETE", f"{post}/like")),
        ("comments", said("DELETE", f"{post}/comments/{comment['comment_id']}")),
        ("posts", said("DELETE", post)),
    ]
    assert [written(broker, *answer)["user_id"] for answer in answers] == ["ada"] * 6
    assert {answer["user_id"] for _, answer in answers} == {"ada"}


def test_liking_and_unliking_write_their_facts(client: TestClient, broker: OneBroker, by: By) -> None:
    liked = client.put("/posts/p9/like", headers=by("grace"))
    unliked = client.delete("/posts/p9/like", headers=by("grace"))
    assert (liked.status_code, unliked.status_code) == (202, 202)
    assert written(broker, "likes", liked.json())["event_type"] == "post_liked"
    assert written(broker, "likes", unliked.json())["event_type"] == "post_unliked"
    assert Token.parse(unliked.json()["token"]).offset > Token.parse(liked.json()["token"]).offset


def test_a_comment_is_deleted_by_its_author_alone(client: TestClient, broker: OneBroker, by: By) -> None:
    post = new_post(client, by("ada"))["post_id"]
    comment = client.post(f"/posts/{post}/comments", json={"text": "Wow"}, headers=by("grace")).json()
    path = f"/posts/{post}/comments/{comment['comment_id']}"
    assert client.delete(path, headers=by("ada")).status_code == 403  # not even the post's author
    deleted = client.delete(path, headers=by("grace"))
    assert deleted.status_code == 202
    assert written(broker, "comments", deleted.json())["comment_id"] == comment["comment_id"]


def test_a_comments_id_is_of_no_use_under_another_post(client: TestClient, by: By) -> None:
    comment = client.post("/posts/p1/comments", json={"text": "Wow"}, headers=by("grace")).json()
    path = f"/posts/p2/comments/{comment['comment_id']}"
    assert client.delete(path, headers=by("grace")).status_code == 403


def test_a_post_is_deleted_by_its_author_alone(client: TestClient, by: By) -> None:
    post = new_post(client, by("ada"))["post_id"]
    assert client.delete(f"/posts/{post}", headers=by("eve")).status_code == 403
    assert client.delete(f"/posts/{post}", headers=by("ada")).status_code == 202


def test_a_post_that_others_made_cannot_be_judged_here(client: TestClient, by: By) -> None:
    assert client.delete("/posts/made-elsewhere", headers=by("ada")).status_code == 202


def test_a_retry_with_its_key_makes_the_same_ids(client: TestClient, by: By) -> None:
    first, second = (new_post(client, {**by("ada"), "Idempotency-Key": "k1"}) for _ in range(2))
    assert (first["event_id"], first["post_id"]) == (second["event_id"], second["post_id"])
    assert client.delete(f"/posts/{first['post_id']}", headers=by("ada")).status_code == 202


def test_a_key_of_one_user_says_nothing_about_another(client: TestClient, by: By) -> None:
    of_ada = new_post(client, {**by("ada"), "Idempotency-Key": "k2"})
    of_grace = new_post(client, {**by("grace"), "Idempotency-Key": "k2"})
    assert of_ada["post_id"] != of_grace["post_id"]
    assert of_ada["event_id"] != of_grace["event_id"]


def test_a_retried_comment_keeps_its_id(client: TestClient, by: By) -> None:
    headers = {**by("grace"), "Idempotency-Key": "k3"}
    answers = [client.post("/posts/p1/comments", json={"text": "Hi"}, headers=headers).json() for _ in "ab"]
    assert answers[0]["comment_id"] == answers[1]["comment_id"]


def test_a_key_that_is_used_again_for_another_post_makes_another_comment(client: TestClient, by: By) -> None:
    headers = {**by("grace"), "Idempotency-Key": "k4"}
    first, second = (
        client.post(f"/posts/{post}/comments", json={"text": "Hi"}, headers=headers).json() for post in ("p1", "p2")
    )
    assert first["event_id"] != second["event_id"]
    assert first["comment_id"].partition("_")[0] != second["comment_id"].partition("_")[0]


def test_a_key_that_is_used_again_for_other_content_makes_another_post_and_comment(
    client: TestClient, broker: OneBroker, by: By
) -> None:
    headers = {**by("grace"), "Idempotency-Key": "k5"}
    posts = [new_post(client, headers, **body) for body in ({}, {"caption": "b"}, {"image_url": f"{URL}?b"})]
    comments = [client.post("/posts/p1/comments", json={"text": text}, headers=headers).json() for text in "ab"]
    assert len({post["post_id"] for post in posts}) == 3
    assert len({comment["comment_id"] for comment in comments}) == 2
    assert [written(broker, "posts", post)["caption"] for post in posts] == ["", "b", ""]
    assert [written(broker, "comments", comment)["text"] for comment in comments] == ["a", "b"]


@pytest.mark.parametrize(("key", "said"), [({}, IN_DOUBT_WITHOUT_KEY), ({"Idempotency-Key": "k6"}, IN_DOUBT)])
def test_who_is_in_doubt_is_told_what_trying_again_does(
    client: TestClient, by: By, monkeypatch: pytest.MonkeyPatch, key: dict[str, str], said: str
) -> None:
    publisher = client.app.state.publisher.of("comments")  # type: ignore[attr-defined]
    monkeypatch.setattr(publisher, "publish", AsyncMock(side_effect=InDoubt("no acknowledgement")))
    answer = client.post("/posts/p1/comments", json={"text": "Hi"}, headers={**by("ada"), **key})
    assert (answer.status_code, answer.json()["detail"]) == (503, said)


@pytest.mark.parametrize("text", ["x", "x" * 2_200, "🌊" * 2_200])
def test_the_longest_and_the_shortest_comments_are_taken(client: TestClient, by: By, text: str) -> None:
    assert client.post("/posts/p1/comments", json={"text": text}, headers=by("ada")).status_code == 201


def test_a_healthy_service_says_so(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "services": {"posting": "ok", "likes": "ok", "comments": "ok"},
    }


def test_a_service_that_cannot_publish_says_so_and_those_beside_it_go_on(
    client: TestClient, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.publisher.of("likes"), "_producer", None)  # type: ignore[attr-defined]
    health = client.get("/healthz")
    told = health.json()["services"]
    assert health.status_code == 503
    assert [name for name, said in told.items() if said != "ok"] == ["likes"]
    assert client.put("/posts/p1/like", headers=by("ada")).status_code == 503
    assert client.post("/posts/p1/comments", json={"text": "Wow"}, headers=by("ada")).status_code == 201


def test_published_facts_are_counted(client: TestClient, by: By) -> None:
    names = (
        'msm_facts_published_total{topic="likes"} ',
        'msm_http_requests_total{method="PUT",route="/posts/{post_id}/like",status="202"} ',
    )

    def counted() -> list[float]:
        lines = client.get("/metrics").text.splitlines()
        found = (next((line for line in lines if line.startswith(name)), f"{name}0") for name in names)
        return [float(line.rsplit(" ", 1)[1]) for line in found]

    before = counted()
    client.put("/posts/p1/like", headers=by("ada"))
    assert counted() == [one + 1 for one in before]


def test_each_service_is_an_app_of_its_own(live: Settings, by: By) -> None:
    from producers import comments, likes, posting

    paths = {posting: "/posts", likes: "/posts/{post_id}/like", comments: "/posts/{post_id}/comments"}
    for module, path in paths.items():
        app = build_app([module.SERVICE], live)
        assert path in app.openapi()["paths"]
        with TestClient(app) as client:
            app.state.publisher.wait_until_ready(30)
            assert client.get("/healthz").json()["status"] == "ok"


def test_services_that_start_anew_have_a_new_publisher(live: Settings) -> None:
    from producers import comments, likes, posting

    app = build_app([posting.SERVICE, likes.SERVICE, comments.SERVICE], live)
    with TestClient(app):
        first = app.state.publisher
    with TestClient(app):
        assert app.state.publisher is not first

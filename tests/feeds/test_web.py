"""The whole web process: website, demo, and an end that does not wait for open streams."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import jwt
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from conf import REPOSITORY
from conf.settings import Settings
from feeds.rankings import RankingStore
from feeds.store import PostStore
from runtime.web import SERVICES, create_app
from service.app import build_app, serve
from tests.feeds.serving import event_stream, free_ports, wait_for

SECRET = "a secret that only this test knows"  # noqa: S105


@contextmanager
def web(data_dir: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx2.Client]]:
    """The process, with no broker to be found, and views of an earlier time when there was one."""
    feeds = Settings(data_dir=data_dir).feeds_dir
    for view in (PostStore(feeds / "refresh_feed.sqlite"), RankingStore(feeds / "trending_feed.sqlite")):
        view.touch()
        view.close()
    port = free_ports(1)
    environment = {
        **os.environ,
        "MSM_DATA_DIR": str(data_dir),
        "MSM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "MSM_HTTP_PORT": str(port),
        "MSM_AUTH_SECRET": SECRET,
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "runtime.web"], cwd=REPOSITORY, env=environment)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
            wait_for(lambda: answers(client) or process.poll() is not None, 60)
            yield process, client
    finally:
        process.terminate()
        process.wait(20)


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/metrics").status_code == 200
    except httpx2.ConnectError:
        return False


def routes(data_dir: Path, demo: bool = False) -> TestClient:
    """The app without its start: no view, no publisher."""
    return TestClient(create_app(Settings(data_dir=data_dir, auth_secret=SECRET, demo=demo)))


def test_the_demo_lets_one_pick_a_user_to_be(tmp_path: Path) -> None:
    client = routes(tmp_path, demo=True)
    assert "grace" in client.get("/demo").json()["users"]
    token = client.post("/demo/token", json={"user_id": "grace"}).json()["token"]
    assert jwt.decode(token, SECRET, algorithms=["HS256"], audience="mysocialmedia")["sub"] == "grace"
    assert client.post("/demo/token", json={"user_id": "no identifier"}).status_code == 422


def test_without_the_demo_nobody_gets_a_token(tmp_path: Path) -> None:
    client = routes(tmp_path, demo=False)
    assert client.get("/demo").json() == {"users": []}
    assert client.post("/demo/token", json={"user_id": "grace"}).status_code == 404


def test_the_page_runs_no_script_but_its_own(tmp_path: Path) -> None:
    client = routes(tmp_path)
    page = client.get("/")
    assert page.status_code == 200
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert "trusted-types 'none'" in page.headers["Content-Security-Policy"]
    assert client.get("/../refresh_feed.py").status_code == 404
    assert client.get("/%2e%2e/refresh_feed.py").status_code == 404


def test_whatever_one_gets_one_may_ask_the_head_of(tmp_path: Path) -> None:
    with web(tmp_path) as (_, client):
        routes = [path for path, methods in client.get("/openapi.json").json()["paths"].items() if "get" in methods]
        paths = [path.replace("{post_id}", "p1").replace("{name}", "x.png") for path in routes]
        assert len(paths) > 10
        for path in ["/", "/app.js", "/docs", *(path for path in paths if not path.endswith("/stream"))]:
            head, whole = client.head(path), client.get(path)
            assert (path, head.status_code) == (path, whole.status_code)
            assert head.headers["Content-Type"] == whole.headers["Content-Type"]
            assert not head.content
        assert client.head("/feed/stream").status_code in (404, 405)
        assert 'msm_http_requests_total{method="HEAD",route="/feed",status="200"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("name", ["refresh_feed", "trending_feed", "website"])
def test_who_takes_no_commands_starts_without_the_key(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "auth.secret").write_text("no key")
    monkeypatch.setattr("service.app.run", lambda _, opened: opened.close())
    app = alone(tmp_path, name)
    serve(app)
    with TestClient(app) as client:
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("name", "demo"), [("posting", False), ("likes", False), ("comments", False), ("website", True)]
)
def test_who_takes_commands_or_hands_out_tokens_says_before_it_starts_that_the_key_is_none(
    name: str, demo: bool, tmp_path: Path
) -> None:
    (tmp_path / "auth.secret").write_text("no key")
    with pytest.raises(SystemExit, match=r"auth\.secret holds no key of 32 bytes"):
        serve(alone(tmp_path, name, demo))


def alone(data_dir: Path, name: str, demo: bool = False) -> FastAPI:
    """The app of a service, or of the page."""
    services = [service for service in SERVICES if service.name == name]
    settings = Settings(data_dir=data_dir, kafka_bootstrap="127.0.0.1:1", http_port=free_ports(1), demo=demo)
    return build_app(services, settings) if services else create_app(settings, services)


def test_open_streams_end_when_the_server_is_told_to_stop(tmp_path: Path) -> None:
    with web(tmp_path) as (process, client):
        url = str(client.base_url).rstrip("/")
        with event_stream(f"{url}/feed/stream") as feed, event_stream(f"{url}/trending/stream") as rankings:
            next(feed), next(rankings)
            told = time.monotonic()
            process.terminate()
            list(feed), list(rankings)
            process.wait(20)
        assert time.monotonic() - told < 20  # a stream has no end, and uvicorn would wait for it


def test_a_store_that_cannot_be_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "feeds" / "refresh_feed.sqlite").mkdir(parents=True)
    environment = {
        **os.environ,
        "MSM_DATA_DIR": str(tmp_path),
        "MSM_AUTH_SECRET": SECRET,
        "MSM_HTTP_PORT": str(free_ports(1)),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "runtime.web"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "refresh_feed.sqlite cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout

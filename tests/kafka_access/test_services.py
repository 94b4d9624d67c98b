"""The services on a secured broker: each by its own rights, be they all in one process or alone on a machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from conf import REPOSITORY
from conf.kafka import ca_file, password_file
from conf.settings import Settings
from producers import likes
from runtime.admin import may_administer
from runtime.topics import ensure_topics
from runtime.web import create_app
from service.app import build_app
from service.auth import issue_token
from tests.feeds.serving import wait_for

pytestmark = pytest.mark.kafka


def by(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue_token(settings, 'ada', 60)}"}


def test_five_services_behind_one_port_each_do_their_own(cluster: Settings, tmp_path: Path) -> None:
    settings = cluster.model_copy(update={"data_dir": tmp_path, "kafka_secrets_dir": str(cluster.kafka_secrets)})
    app = create_app(settings)
    # Nobody here may write two of these topics, so that three answers mean three principals.
    with TestClient(app) as client:
        app.state.publisher.wait_until_ready(30)
        post = client.post("/posts", json={"image_url": "https://a/b.jpg"}, headers=by(settings))
        assert post.status_code == 201
        url = f"/posts/{post.json()['post_id']}"
        assert client.put(f"{url}/like", headers=by(settings)).status_code == 202
        assert client.post(f"{url}/comments", json={"text": "hello"}, headers=by(settings)).status_code == 201
        wait_for(lambda: client.get("/healthz").status_code == 200)


@pytest.fixture
def far_away(cluster: Settings, tmp_path: Path) -> Settings:
    """A machine that has the Like service's password and no other; the cluster is somebody else's."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for file in (ca_file(cluster), password_file(cluster, "likes")):
        shutil.copy(file, folder)
    return Settings(
        data_dir=tmp_path, kafka_bootstrap=cluster.bootstrap, kafka_security="scram", kafka_secrets_dir=str(folder)
    )


def test_a_service_needs_no_password_but_its_own(far_away: Settings) -> None:
    app = build_app([likes.SERVICE], far_away)
    with TestClient(app) as client:
        app.state.publisher.wait_until_ready(30)
        assert client.put("/posts/p1/like", headers=by(far_away)).status_code == 202
    assert not may_administer(far_away)
    with pytest.raises(SystemExit, match=r"no password of Kafka's principal admin: .*/admin\.properties"):
        ensure_topics(far_away)


def test_a_process_without_its_password_ends_with_one_sentence(far_away: Settings) -> None:
    env = {
        **os.environ,
        "MSM_DATA_DIR": str(far_away.data_dir),
        "MSM_KAFKA_BOOTSTRAP": far_away.bootstrap,
        "MSM_KAFKA_SECURITY": "scram",
        "MSM_KAFKA_SECRETS_DIR": far_away.kafka_secrets_dir,
    }
    command = [sys.executable, "-m", "producers.comments"]
    done = subprocess.run(command, env=env, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert done.stderr.startswith("no password of Kafka's principal comments: ")
    assert len(done.stderr.splitlines()) == 1

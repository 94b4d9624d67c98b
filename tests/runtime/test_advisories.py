"""The real pip-audit, asking a stand-in for the service that knows the holes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runtime.advisories import main, wanted_versions

LOCK = """\
left==1.0 \\
    --hash=sha256:{0}
pyspark==4.2.0 ; python_full_version >= '3.9' \\
    --hash=sha256:{0}
sound==3.0 \\
    --hash=sha256:{0}
""".format("0" * 64)


class Service(ThreadingHTTPServer):
    """Answers as OSV does; `fixes` names the version that closes the hole of a package, None where none does."""

    def __init__(self, fixes: dict[str, str | None]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.fixes = fixes
        self.asked: list[str] = []
        self.gives_up_at = ""

    @property
    def options(self) -> list[str]:
        return ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{self.server_port}/v1/query"]


class Answer(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        package = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.server.asked.append(package)
        body = json.dumps(self._known(package) if package in self.server.fixes else {}).encode()
        self.send_response(500 if package == self.server.gives_up_at else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _known(self, package: str) -> dict[str, object]:
        fix = self.server.fixes[package]
        events = [{"introduced": "0"}, *([{"fixed": fix}] if fix else [])]
        affected = {
            "package": {"name": package, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}],
        }
        return {"vulns": [{"id": f"HOLE-{package}", "summary": "bad", "affected": [affected]}]}

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service({}) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.lock"
    file.write_text(LOCK)
    return file


def test_a_hole_that_a_newer_version_closes_fails(
    service: Service, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.fixes = {"left": "1.1"}
    assert main(service.options, lock) == 1
    assert "left 1.0: HOLE-left, fixed in 1.1: make the lock anew with it" in capsys.readouterr().out
    assert set(service.asked) == {"left", "pyspark", "sound"}


def test_holes_that_nobody_can_mend_yet_are_told_and_do_not_fail(
    service: Service, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    not_allowed = "5.0.0"  # since Delta fixes Spark's version
    assert not wanted_versions()["pyspark"].contains(not_allowed)
    service.fixes = {"left": None, "pyspark": not_allowed}
    assert main(service.options, lock) == 0
    told = capsys.readouterr().out
    assert "left 1.0: HOLE-left, no version fixes it: cannot be mended yet" in told
    assert "pyspark 4.2.0: HOLE-pyspark, fixed in 5.0.0: cannot be mended yet" in told
    assert "2 known holes, 0 of them can be mended" in told


def test_a_service_that_does_not_answer_is_said_to_have_told_nothing(
    service: Service, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.fixes, service.gives_up_at = {"left": "1.1"}, "sound"
    assert main(service.options, lock) == 0
    assert "were NOT checked" in capsys.readouterr().out


def test_where_there_is_no_service_one_question_is_enough(
    service: Service, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.gives_up_at = "left"
    assert main(service.options, lock) == 0
    assert "were NOT checked" in capsys.readouterr().out
    assert service.asked == ["left"]

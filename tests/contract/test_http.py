"""Whatever answers at the address of a service, who asks gets bytes or an OSError."""

import socketserver
import threading
from collections.abc import Iterator

import pytest

from conf.http import get


class Telnet(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"login: \r\n")


class Short(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with socketserver.TCPServer(("127.0.0.1", 0), request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("address", [Telnet, Short], indirect=True)
def test_what_does_not_answer_by_http_is_named(address: str) -> None:
    with pytest.raises(OSError, match=f"{address}/healthz does not answer by HTTP"):
        get(f"{address}/healthz", 5)

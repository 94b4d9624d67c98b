"""Requests that mean harm, over real connections: each is refused within its bound, and others are still answered."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import httpx2
import psutil
import pytest

from service import middleware, server
from service.auth import issue_token
from service.limits import FEW
from tests.feeds.serving import wait_for
from tests.service.conftest import Running, Serve

MIB = 1024 * 1024


@contextmanager
def connection(running: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as sock:
        yield sock


def everything(sock: socket.socket) -> bytes:
    """Until the server closes."""
    answer = b""
    try:
        while part := sock.recv(65_536):
            answer += part
    except ConnectionError:
        pass
    return answer


def poured(sock: socket.socket, part: bytes, most: int) -> int:
    """Bytes that the server took before it closed, `most` at the most."""
    sent = 0
    try:
        while sent < most:
            sock.sendall(part)
            sent += len(part)
    except ConnectionError:
        pass
    return sent


def is_fine(running: Running) -> bool:
    return running.http.get("/hello").text == '"hello"'


HEADS = {
    "one endless header": (b"GET /hello HTTP/1.1\r\nHost: x\r\nX: ", b"a" * 65_536),
    "an endless address": (b"GET /hello?", b"a" * 65_536),
    "headers without end": (b"GET /hello HTTP/1.1\r\nHost: x\r\n", b"X-Y: zzzz\r\n" * 6_000),
    "trailers without end": (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"X-Y: zzzz\r\n" * 6_000,
    ),
    "chunk extensions without end": (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=",
        b"a" * 65_536,
    ),
}


@pytest.mark.parametrize(("begin", "more"), HEADS.values(), ids=HEADS.keys())
def test_no_head_fills_the_memory(running: Running, begin: bytes, more: bytes) -> None:
    with connection(running) as sock:
        before = psutil.Process().memory_info().rss
        sock.sendall(begin)
        # What the system's own buffers take is not yet in the server.
        assert poured(sock, more, 100 * MIB) < 20 * MIB
        assert psutil.Process().memory_info().rss - before < 40 * MIB
        assert is_fine(running)


@pytest.mark.parametrize("query", ["&".join(f"a{number}=1" for number in range(10_000)), "limit=" + "9" * 40_000])
def test_ten_thousand_parameters_are_too_many(running: Running, query: str) -> None:
    with connection(running) as sock:
        sock.sendall(f"GET /hello?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert everything(sock).startswith(b"HTTP/1.1 400 ")
        assert is_fine(running)


def test_one_request_may_wait_for_the_answer_to_the_last_one(running: Running) -> None:
    ask = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    with connection(running) as sock:
        sock.sendall(ask % b"" + ask % b"Connection: close\r\n")
        assert everything(sock).count(b"HTTP/1.1 200 ") == 2
    with connection(running) as sock:
        sock.sendall(ask % b"" * 1_000)
        assert everything(sock).count(b"HTTP/1.1 200 ") < 10
        assert is_fine(running)


def test_two_names_are_none(running: Running) -> None:
    with connection(running) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert everything(sock).startswith(b"HTTP/1.1 421 ")


def test_an_ordinary_head_may_be_large(running: Running) -> None:
    assert running.http.get("/hello", headers={"X": "a" * 30_000}).status_code == 200


def test_a_body_in_small_pieces_is_a_body(running: Running) -> None:
    body = json.dumps({"text": "x" * 60_000}).encode()
    pieces = (body[at : at + 100] for at in range(0, len(body), 100))
    headers = {"Content-Type": "application/json"}
    assert running.http.post("/echo", content=pieces, headers=headers).text == "60000"


def test_a_body_without_end_is_cut_off(running: Running) -> None:
    with connection(running) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        sock.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        assert poured(sock, b"10000\r\n" + b"a" * 65_536 + b"\r\n", 100 * MIB) < 20 * MIB
        assert is_fine(running)


def test_a_body_that_nobody_reads_does_not_go_on_for_ever(running: Running) -> None:
    with connection(running) as sock:
        sock.sendall(b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nbegin")
        answer = everything(sock)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"text":' * 8_000, b'{"text": ' + b"9" * 60_000 + b"}"])
def test_deep_or_huge_json_is_refused(running: Running, body: bytes) -> None:
    answer = running.http.post("/echo", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/html", ""])
def test_a_body_that_is_not_said_to_be_json_is_not_taken_for_it(running: Running, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = running.http.post("/echo", content=b'{"text": "x"}', headers=headers)
    assert answer.status_code in (415, 422)


@pytest.mark.parametrize("trickle", [b"", b"G", b"\r\n", b"GET /hello HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, trickle: bytes
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    with serve() as running:
        began = time.monotonic()
        with connection(running) as sock:
            sock.sendall(trickle)
            assert everything(sock) == b""
        assert 0.3 < time.monotonic() - began < 30


def test_a_second_head_may_not_be_slow_either(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    with serve() as running, connection(running) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: b"hello" in sock.recv(65_536))
        sock.sendall(b"GET /hel")
        began = time.monotonic()
        assert everything(sock) == b""
        assert time.monotonic() - began < 30


def test_an_idle_connection_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    with serve() as running, connection(running) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert everything(sock).endswith(b'"hello"')


def test_a_slow_body_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "JSON_SECONDS", 0.5)
    with serve() as running, connection(running) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        sock.sendall(b'Content-Length: 1000\r\n\r\n{"text": "')
        stop = threading.Event()

        def drip() -> None:
            with suppress(ConnectionError):  # by then the server has closed
                while not stop.wait(0.1):
                    sock.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            answer = everything(sock)
        finally:
            stop.set()
            dripping.join()
        assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(("path", "status"), [("/echo", 413), ("/posts", 404)])
def test_no_body_but_that_of_a_new_post_may_be_as_large_as_a_picture(running: Running, path: str, status: int) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert running.http.post(path, content=b"x" * 100_000, headers=headers).status_code == status


def test_a_reader_that_does_not_read_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALLED_SECONDS", 1)
    with serve() as running, connection(running) as sock:
        sock.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        wait_for(lambda: getattr(running.app.state, "floods", None) is False)  # it began, and was ended
        assert is_fine(running)


def test_a_reader_that_reads_is_not_cut_off_however_much_it_is_sent(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "STALLED_SECONDS", 3)
    with serve() as running, connection(running) as sock:
        sock.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert sock.recv(1 << 20)
        assert running.app.state.floods


def test_one_address_cannot_have_all_connections(serve: Serve) -> None:
    with serve(max_connections=10) as running:
        assert is_fine(running)
        socks = [socket.create_connection(("127.0.0.1", running.port), timeout=8) for _ in range(8)]
        assert [everything(sock) for sock in socks[4:]] == [b""] * 4  # httpx has the fifth
        assert is_fine(running)
        for sock in socks:
            sock.close()
        with connection(running) as sock:
            sock.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert everything(sock).endswith(b'"hello"')


def test_a_proxy_may_have_all_connections_and_each_client_behind_it_a_third_for_streams(serve: Serve) -> None:
    with serve(max_connections=12, trusted_proxies="127.0.0.1") as running, ExitStack() as stack:

        def status(client: str) -> int:
            headers = {"X-Forwarded-For": client}
            return stack.enter_context(running.http.stream("GET", "/stream", headers=headers)).status_code

        assert [status("10.0.0.1") for _ in range(5)] == [200, 200, 200, 200, 429]
        assert [status(f"10.0.0.{number}") for number in range(2, 7)] == [200] * 5
        running.go_on()


def test_one_address_cannot_have_all_requests_in_hand(serve: Serve) -> None:
    with serve(max_requests=4, trusted_proxies="127.0.0.1") as running, ThreadPoolExecutor(8) as pool:

        def ask(client: str) -> int:
            return running.http.get("/hang", headers={"X-Forwarded-For": client}).status_code

        greedy = [pool.submit(ask, "10.0.0.1") for _ in range(4)]
        wait_for(lambda: sum(one.done() for one in greedy) == 2)
        other = pool.submit(ask, "10.0.0.2")
        assert running.http.get("/hello", headers={"X-Forwarded-For": "10.0.0.3"}).status_code == 200
        running.go_on()
        assert sorted(one.result() for one in greedy) == [200, 200, 503, 503]
        assert other.result() == 200


def test_more_requests_than_can_be_in_hand_are_told_to_come_back(serve: Serve) -> None:
    with serve(max_requests=6) as running, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(running.http.get, "/hang") for _ in range(8)]
        wait_for(lambda: sum(one.done() for one in asked) == 5)
        shed = [one.result() for one in asked if one.done()]
        assert {(answer.status_code, answer.headers["Retry-After"]) for answer in shed} == {(503, "1")}
        for path in ("/healthz", "/readyz"):
            assert running.http.get(path).status_code == 200
        running.go_on()
        assert sorted(one.result().status_code for one in asked) == [200] * 3 + [503] * 5
        assert is_fine(running)
        assert 'msm_http_refused_total{why="busy"}' in running.http.get("/metrics").text


def test_of_more_requests_than_the_processor_can_do_some_are_answered_soon_and_the_others_refused(serve: Serve) -> None:
    with serve() as running, ExitStack() as stack:
        socks = [stack.enter_context(connection(running)) for _ in range(2 * FEW)]
        all_sent = threading.Event()
        running.app.state.loop.call_soon_threadsafe(all_sent.wait, 20)
        for sock in socks:
            sock.sendall(b"GET /work HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        all_sent.set()
        statuses = Counter(everything(sock).split(b" ", 2)[1] for sock in socks)
        assert statuses.keys() == {b"200", b"503"}
        assert statuses[b"200"] >= FEW
        assert is_fine(running)


def test_an_open_stream_keeps_nobody_out(serve: Serve) -> None:
    with serve(max_requests=1) as running, running.http.stream("GET", "/stream") as answer:
        assert answer.status_code == 200
        assert is_fine(running)
        running.go_on()


def test_a_hasty_user_is_slowed_down_and_the_others_are_not(serve: Serve) -> None:
    with serve(user_rate=0.01, user_burst=5) as running:
        settings = running.app.state.settings
        hasty, calm = ({"Authorization": f"Bearer {issue_token(settings, name, 60)}"} for name in ("eve", "ada"))
        answers = [running.http.put("/me", headers=hasty) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
        assert 80 <= int(answers[-1].headers["Retry-After"]) <= 100
        assert running.http.put("/me", headers=calm).json() == "ada"


def test_a_token_that_is_refused_costs_its_user_nothing(serve: Serve) -> None:
    with serve(user_rate=0.5, user_burst=1) as running:
        token = issue_token(running.app.state.settings, "ada", 60)
        forged = {"Authorization": f"Bearer {token[:-4]}AAAA"}
        assert [running.http.put("/me", headers=forged).status_code for _ in range(5)] == [401] * 5
        assert running.http.put("/me", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_hasty_address_is_slowed_down(serve: Serve) -> None:
    with serve(address_rate=0.01, address_burst=4) as running:
        answers = [running.http.get("/hello") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
        assert 80 <= int(answers[-1].headers["Retry-After"]) <= 100


def test_nobody_can_claim_another_address(serve: Serve) -> None:
    def codes(client: httpx2.Client) -> list[int]:
        claims = [{"X-Forwarded-For": f"10.0.0.{number}"} for number in range(6)]
        return [client.get("/hello", headers=claim).status_code for claim in claims]

    with serve(address_rate=0.01, address_burst=4) as running:
        assert codes(running.http) == [200] * 4 + [429] * 2
    with serve(address_rate=0.01, address_burst=4, trusted_proxies="127.0.0.1") as running:
        assert codes(running.http) == [200] * 6


def test_what_was_not_foreseen_is_answered_with_an_id_that_the_log_has(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = running.http.get("/boom?secret=1", headers={"Authorization": "Bearer what-a-token"})
    assert answer.status_code == 500
    told = answer.json()
    assert set(told) == {"detail", "id"}
    assert "swordfish" not in answer.text
    log = capsys.readouterr().out
    assert told["id"] in log
    assert "swordfish" in log
    assert "secret=1" not in log
    assert "what-a-token" not in log
    assert is_fine(running)

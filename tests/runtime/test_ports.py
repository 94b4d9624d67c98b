"""Who listens where: a port in use is told from a host that is none of this machine's."""

import socket
from collections.abc import Iterator

import pytest

from conf.kafka import broker_listens
from runtime.broker import is_taken

NOBODY = "127.0.0.1:1"


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Host and port of somebody."""
    host = request.param
    try:
        server = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with server:
        yield host, server.getsockname()[1]


def test_a_port_is_taken_while_somebody_listens(listening: tuple[str, int]) -> None:
    host, port = listening
    assert is_taken(port, host)


def test_an_address_of_ipv6_is_free_where_nobody_listens() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            port = server.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no ::1")
    assert not is_taken(port, "::1")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "::ffff:192.0.2.1"])
def test_a_host_that_is_not_this_machine_is_no_port_in_use(host: str) -> None:
    with pytest.raises(SystemExit, match=rf"cannot listen on {host}:8000 \(.*\): check MSM_HTTP_HOST"):
        is_taken(8000, host)


def test_one_broker_of_several_that_listens_will_do(listening: tuple[str, int]) -> None:
    host, port = listening
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert broker_listens(f"{NOBODY}, {address}", 1)


@pytest.mark.parametrize("bootstrap", [NOBODY, "", "localhost", "localhost:many", "localhost:99999", "[::1]:1"])
def test_where_nobody_listens_or_could_there_is_no_broker(bootstrap: str) -> None:
    assert not broker_listens(bootstrap, 1)

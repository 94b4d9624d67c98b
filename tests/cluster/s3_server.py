"""A server of the S3 API on this machine's loopback, with an empty bucket in its memory.

python -m tests.cluster.s3_server -H 127.0.0.1 -p PORT
"""

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conf import REPOSITORY, store
from runtime.broker import is_taken
from runtime.parts import PYTHON
from runtime.processes import Process, wait_until
from tests.feeds.serving import free_ports

HOST = "127.0.0.1"
BUCKET = "s3a://social"


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The bucket; AWS's variables lead to it, here and in what is started meanwhile."""
    port = free_ports(1)
    endpoint = f"http://{HOST}:{port}"
    command = [PYTHON, "-m", "tests.cluster.s3_server", "-H", HOST, "-p", str(port)]
    server = Process.start("s3", command, folder, cwd=REPOSITORY)
    try:
        wait_until(lambda: is_taken(port), 120, server.last_words)
        make = urllib.request.Request(f"{endpoint}/{BUCKET.removeprefix('s3a://')}", method="PUT")
        urllib.request.urlopen(make, timeout=30).close()
        with pytest.MonkeyPatch.context() as environment:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                environment.delenv(name)
            environment.setenv("AWS_ENDPOINT_URL", endpoint)
            environment.setenv("AWS_REGION", "us-east-1")
            environment.setenv("AWS_ACCESS_KEY_ID", "a-key")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
            store.s3.cache_clear()
            yield BUCKET
    finally:
        store.s3.cache_clear()
        server.kill()


def main(arguments: list[str]) -> None:
    """Be the server."""
    from moto.server import main as serve  # by this process alone: it takes a second
    from werkzeug.serving import WSGIRequestHandler

    # Werkzeug says "100 Continue", and so does the class below it: who takes the second for the answer waits for ever.
    WSGIRequestHandler.handle_expect_100 = lambda _: True  # type: ignore[method-assign]
    serve(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

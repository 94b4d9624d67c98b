"""Requests of ours to our own services."""

import urllib.request
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, seconds: float) -> Any:
    """The open answer of a GET. Never through a proxy of the environment: who asks knows the address.

    Raises OSError (urllib's HTTPError and URLError among it), ValueError, or HTTPException where it is no HTTP.
    """
    return _DIRECT.open(url, timeout=seconds)

"""Requests of ours to our own services."""

import urllib.request
from http.client import HTTPException

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, seconds: float) -> bytes:
    """What a GET is answered with. Never through a proxy of the environment: who asks knows the address.

    OSError where there is no answer, urllib's HTTPError where it is a refusal; ValueError where it is no address.
    """
    try:
        with _DIRECT.open(url, timeout=seconds) as answer:
            body: bytes = answer.read()
            return body
    except HTTPException as error:
        raise OSError(f"{url} does not answer by HTTP: {error!r}") from None

"""Ids that carry their owner, so that a command can be judged without reading any view.

An id is a UUIDv7 in hex, `_`, and 16 hex digits of an HMAC over the id and its owner. Writes and
reads share no store (CQRS), so the id itself has to say whose it is.
"""

import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable

_OURS = re.compile(r"([0-9a-f]{32})_([0-9a-f]{16})")


class Ownership:
    """Makes ids and knows whose they are, by a secret key; with `former` ones it knows what was made by them, too."""

    def __init__(self, key: str, former: Iterable[str] = ()) -> None:
        self._key = key.encode()
        self._keys = [self._key, *(one.encode() for one in former)]

    def new_id(self, seed: uuid.UUID, *owner: str) -> str:
        """The id that belongs to `owner`: a user, or a user and the post it stands on."""
        return f"{seed.hex}_{_proof(self._key, seed.hex, owner)}"

    def is_stranger(self, identifier: str, *owner: str) -> bool:
        """Whether the id is surely somebody else's.

        An id of another form was made by others, who write straight to Kafka: it is not judged here,
        and the jobs let a stranger's deletion change nothing.
        """
        ours = _OURS.fullmatch(identifier)
        if ours is None:
            return False
        return not any(hmac.compare_digest(ours[2], _proof(key, ours[1], owner)) for key in self._keys)

    def repeatable(self, purpose: str, user_id: str, idempotency_key: str, *about: str) -> uuid.UUID:
        """The same UUID for the same user, key and `about`, such as a post: a retry makes the same ids.

        It has the form of a UUIDv7; its time bits are no time.
        """
        digest = _digest(self._key, "retry", purpose, user_id, idempotency_key, *about)
        fixed = (int.from_bytes(digest[:16], "big") & ~(0xF << 76) & ~(0x3 << 62)) | (0x7 << 76) | (0x2 << 62)
        return uuid.UUID(int=fixed)


def _proof(key: bytes, seed: str, owner: tuple[str, ...]) -> str:
    return _digest(key, "owner", seed, *owner).hex()[:16]


def _digest(key: bytes, *parts: str) -> bytes:
    return hmac.digest(key, "\n".join(parts).encode(), hashlib.sha256)

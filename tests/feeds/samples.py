"""Records as the jobs write them."""

import json
from typing import Any

from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS
from feeds.records import PostChange, PostSeen, Record, post_change


def body(post_id: str = "p1", version: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "post_id": post_id,
        "user_id": "ada",
        "image_url": "https://pictures.example/1.jpg",
        "caption": "",
        "created_at": "2026-11-20T14:00:00.000Z",
        "likes": version,
        "comments": 0,
        "updated_at": "2026-11-20T14:00:00.000Z",
        "version": version,
        **fields,
    }


def row(post_id: str = "p1", version: int = 1, seen: PostSeen | None = None, **fields: Any) -> Record:
    return record(post_id, json.dumps(body(post_id, version, **fields)).encode(), seen)


def tombstone(post_id: str = "p1", seen: PostSeen | None = None) -> Record:
    return record(post_id, None, seen)


def record(post_id: str, value: bytes | None, seen: PostSeen | None = None) -> Record:
    header = None if seen is None else json.dumps(seen).encode()
    return Record(POSTS_WITH_COUNTS, 0, 0, post_id.encode(), value, header)


def changes(*records: Record) -> list[PostChange]:
    return [post_change(one) for one in records]


def ranking(generated_at: str, *post_ids: str, topic: str = TRENDING_POSTS, key: str = "past_hour") -> Record:
    posts = [
        {
            "rank": rank,
            "post_id": post_id,
            "user_id": "ada",
            "image_url": "",
            "caption": "",
            "likes": 1,
            "comments": 0,
            "score": 1,
        }
        for rank, post_id in enumerate(post_ids, 1)
    ]
    window = {"window_start": "2026-11-20T13:00:00.000Z", "window_end": "2026-11-20T14:00:00.000Z"}
    value = json.dumps({**window, "generated_at": generated_at, "posts": posts})
    return Record(topic, 0, 0, key.encode(), value.encode())

"""The posts that live, newest first, and every change of them in order."""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from contract.results import PostWithCounts
from feeds.records import PostChange, PostSeen, is_older
from feeds.view import View, get

RESUME_MAX = 1_000
RESUME_MAX_BYTES = 256 * 1024
"""Whoever missed more changes than this, or larger ones, reloads the feed, which is cheaper."""
PAGE_MAX_BYTES = 512 * 1024
"""A page ends before its posts are more than this; but it has one."""


AFTER_ALL = ("~", "")
"""A cursor that sorts after every time."""


_STREAM_ID = "(select value from meta where name = 'epoch') || '-' || (select value from meta where name = 'seq')"
_PAGE = f"""
select {_STREAM_ID}, json_group_array(json_array(created_at, post_id, body)) from (
  select created_at, post_id, body from posts
  where removed_at is null and (created_at, post_id) < (?, ?)
  order by created_at desc, post_id desc limit ?)
"""


@dataclass(frozen=True)
class Known:
    """What the view knows of a post, living or removed."""

    version: int
    seen: PostSeen
    removed: bool


@dataclass(frozen=True)
class Update:
    """A post after a change: its JSON, or None where it was removed."""

    post_id: str
    seq: int
    body: str | None


@dataclass(frozen=True)
class Page:
    """Posts as JSON, newest first; `last` is where the next page begins."""

    bodies: list[str]
    last: tuple[str, str] | None
    stream_id: str


def is_news(change: PostChange, known: Known | None) -> bool:
    """Whether a record is newer than what is known: after a fault older ones are written again."""
    if known is None:
        return True
    if change.post is not None and change.post.version <= known.version:
        return False
    if known.removed and change.post is None:
        return is_older(known.seen, change.seen)
    # A tombstone has no version, so what had been seen tells whether it came before or after.
    return not ((known.removed or change.post is None) and is_older(change.seen, known.seen))


def known_after(change: PostChange, known: Known | None) -> Known:
    """What is known once the record is in; a removed post's last version stays."""
    seen = change.seen or (known.seen if known else {})
    if change.post is None:
        return Known(known.version if known else 0, seen, True)
    return Known(change.post.version, seen, False)


class PostStore(View):
    """The refresh feed's view of `posts_with_counts`.

    A removed post stays, without its body: where counts begin anew, years of facts are told again, its creation first.
    """

    schema = """
    create table posts (
      post_id text primary key, created_at text not null, version integer not null, body text not null,
      seen text not null, seq integer not null, removed_at real);
    create index feed on posts (created_at desc, post_id desc) where removed_at is null;
    create index changes on posts (seq);
    """

    def apply(self, changes: Sequence[PostChange], offsets: Mapping[tuple[str, int], int]) -> tuple[list[Update], int]:
        """Take a batch in, as one; the updates it made, in order, and how many records were no news."""
        with self.writing(offsets) as db:
            known = _known(db, {change.post_id for change in changes})
            news: dict[str, PostChange] = {}
            ignored = 0
            for change in changes:
                if not is_news(change, known.get(change.post_id)):
                    ignored += 1
                    continue
                known[change.post_id] = known_after(change, known.get(change.post_id))
                news.pop(change.post_id, None)
                news[change.post_id] = change
            return self._write(db, news.values(), known), ignored

    def _write(self, db: sqlite3.Connection, news: Collection[PostChange], known: Mapping[str, Known]) -> list[Update]:
        start = int(get(db, "seq")) + 1
        updates = [Update(change.post_id, seq, _body(change.post)) for seq, change in enumerate(news, start)]
        created = {change.post_id: change.post.created_at for change in news if change.post is not None}
        db.executemany(
            "insert or replace into posts values (?, ?, ?, ?, ?, ?, ?)",
            [self._row(update, created.get(update.post_id, ""), known[update.post_id]) for update in updates],
        )
        if updates:
            db.execute("update meta set value = ? where name = 'seq'", (updates[-1].seq,))
        return updates

    def _row(self, update: Update, created_at: str, known: Known) -> tuple[object, ...]:
        removed_at = self._clock() if known.removed else None
        seen = json.dumps(known.seen, separators=(",", ":"))
        return update.post_id, created_at, known.version, update.body or "", seen, update.seq, removed_at

    def stream_id(self) -> str:
        row = self.one(f"select {_STREAM_ID}")
        return str(row[0]) if row else ""

    def page(self, limit: int, before: tuple[str, str] | None) -> Page:
        """The newest posts, `limit` at most, or those that come after the post that `before` names."""
        row = self.one(_PAGE, *(before or AFTER_ALL), limit + 1)
        stream_id, found = row or ("", "[]")
        posts: list[tuple[str, str, str]] = json.loads(found)
        sizes = accumulate(len(body.encode()) for _, _, body in posts)
        shown = posts[: max(1, sum(size <= PAGE_MAX_BYTES for size in sizes))][:limit]
        last = (shown[-1][0], shown[-1][1]) if len(posts) > len(shown) else None
        return Page([body for _, _, body in shown], last, stream_id)

    def body(self, post_id: str) -> str | None:
        """A living post as JSON."""
        row = self.one("select body from posts where post_id = ? and removed_at is null", post_id)
        return row[0] if row else None

    def seen(self, post_id: str) -> PostSeen:
        """What went into a post, living or removed."""
        row = self.one("select seen from posts where post_id = ?", post_id)
        return _read_seen(row[0]) if row else {}

    def row(self, post_id: str) -> tuple[str | None, PostSeen]:
        """A living post as JSON, None for another, and what went into it; both of one moment."""
        row = self.one("select iif(removed_at is null, body, null), seen from posts where post_id = ?", post_id)
        return (row[0], _read_seen(row[1])) if row else (None, {})

    def missed(self, stream_id: str) -> tuple[list[Update] | None, str]:
        """What changed since, newest state of each post, and the id after it; None: reload the feed."""
        with self.reading() as db:
            current: str = db.execute(f"select {_STREAM_ID}").fetchone()[0]
            epoch, _, seq = stream_id.partition("-")
            if epoch != get(db, "epoch") or not seq.isdecimal() or len(seq) > 18:
                return None, current
            if int(seq) > int(get(db, "seq")):
                return None, current
            return _since(db, int(seq)), current


def _known(db: sqlite3.Connection, post_ids: set[str]) -> dict[str, Known]:
    rows = db.execute(
        "select post_id, version, seen, removed_at is not null from posts "
        "where post_id in (select value from json_each(?))",
        (json.dumps(list(post_ids)),),
    )
    return {post_id: Known(version, _read_seen(seen), bool(removed)) for post_id, version, seen, removed in rows}


def _since(db: sqlite3.Connection, seq: int) -> list[Update] | None:
    """The changes after `seq`; None as soon as they are too many."""
    updates, size = [], 0
    for post, at, body, removed in db.execute(
        "select post_id, seq, body, removed_at from posts where seq > ? order by seq", (seq,)
    ):
        updates.append(Update(post, at, None if removed else body))
        size += len(body.encode())
        if len(updates) > RESUME_MAX or size > RESUME_MAX_BYTES:
            return None
    return updates


def _read_seen(text: str) -> PostSeen:
    return {topic: (partition, offset) for topic, (partition, offset) in json.loads(text).items()}


def _body(post: PostWithCounts | None) -> str | None:
    return None if post is None else post.model_dump_json()

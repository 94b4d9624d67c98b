"""Reads the archive for one post and says which facts made its numbers."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator, Sequence, Set
from typing import Annotated, Any, cast

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from fastapi import APIRouter, HTTPException, Path, Query, Request
from pydantic import BaseModel

from conf.settings import Settings
from conf.store import delta_options, lake
from contract import tables
from contract.facts import FACT_TOPICS, IDENTIFIER, format_time
from contract.results import TERM, PostWithCounts
from feeds.explaining import MEANING, Archived, Class, classify, judge
from feeds.records import PostSeen
from service.app import refusals
from service.limits import network_of, retry_after

router = APIRouter(tags=["explain"])
MOST_RECORDS = 100_000
"""Of one post; about 100 MB while they are sorted."""
SECONDS = 20.0
AT_ONCE = 2
BATCH = 16_384
_COLUMNS = ["topic", "partition", "offset", "arrived_at", "value"]
_places = threading.BoundedSemaphore(AT_ONCE)
_asking: set[str] = set()
"""Addresses that an explanation is made for: of each one at a time, else one could keep all others out."""


class TooMuchError(RuntimeError):
    """The archive has more of this post than can be told here."""


class Place(BaseModel):
    """A record: where it is stored, and what it says."""

    topic: str
    partition: int
    offset: int
    arrived_at: str
    occurred_at: str | None
    event_type: str | None
    event_id: str | None
    user_id: str | None
    comment_id: str | None
    reason: str | None


class Group(BaseModel):
    """The records of one class; the newest of each topic are named."""

    meaning: str
    count: int
    likes: int
    comments: int
    posts: int
    newest: list[Place]


class Explanation(BaseModel):
    """Every archived record that names the post, in exactly one class; `records` is their sum.

    `closes`: what is published stands, with just these likes and comments, and as many facts went in as its version
    says, but for at most `erased`, which `msm forget` took out of the archive with their user.
    `behind`: so many of its facts are counted and not archived yet; ask again in some seconds.
    """

    post_id: str
    published: PostWithCounts | None
    records: int
    closes: bool
    behind: int
    erased: int
    classes: dict[Class, Group]


def explanation(
    settings: Settings, post_id: str, published: PostWithCounts | None, seen: PostSeen | None, newest: int
) -> Explanation:
    """Why the numbers are what they are; TooMuchError, TableNotFoundError or TimeoutError where that is too much."""
    return explained(post_id, _read(settings, post_id), published, seen, newest, _erased(settings, post_id))


def explained(
    post_id: str,
    records: Sequence[Archived],
    published: PostWithCounts | None,
    seen: PostSeen | None,
    newest: int,
    erased: Set[tuple[str, int, int]] = frozenset(),
) -> Explanation:
    """The records of a post, sorted and summed up; `erased`: places of others, which the archive has no more."""
    archived = {(record.topic, record.partition, record.offset) for record in records}
    erased = erased - archived  # an erasure that was interrupted has named more than it took
    seen = seen if published else None
    classes = classify(records, seen)
    groups = {name: _group(name, found, newest) for name, found in classes.items()}
    went_in = sum(len(found) for name, found in classes.items() if name not in ("dead", "waiting"))
    missing = published.version % TERM - went_in if published else 0
    standing = groups["standing"]
    places = {(topic, *place) for topic, place in (seen or {}).items()}
    late = len(places - archived - erased)
    said = published and (1, published.likes, published.comments)
    is_same = not said or said == (standing.posts, standing.likes, standing.comments)
    return Explanation(
        post_id=post_id,
        published=published,
        records=len(records),
        closes=is_same and not late and 0 <= missing <= len(erased),
        behind=max(0, missing - len(erased), late),
        erased=len(erased),
        classes=groups,
    )


def _group(name: Class, found: list[Archived], newest: int) -> Group:
    def of(topic: str) -> int:
        return sum(record.topic == topic for record in found)

    by_topic = [[record for record in reversed(found) if record.topic == topic][:newest] for topic in FACT_TOPICS]
    return Group(
        meaning=MEANING[name],
        count=len(found),
        likes=of("likes"),
        comments=of("comments"),
        posts=of("posts"),
        newest=[_place(record) for records in by_topic for record in records],
    )


def _place(record: Archived) -> Place:
    def text(field: str) -> str | None:
        value = record.fact.get(field)
        # Half a surrogate is possible in JSON, and cannot be written.
        return value[:64].encode(errors="replace").decode() if isinstance(value, str) else None

    return Place(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        arrived_at=format_time(record.arrived_at),
        reason=record.reason,
        **{name: text(name) for name in ("occurred_at", "event_type", "event_id", "user_id", "comment_id")},
    )


def _read(settings: Settings, post_id: str) -> list[Archived]:
    """Every archived record that names the post; the search runs in Arrow, a batch at a time."""
    table = DeltaTable(str(lake(settings) / tables.EVENTS), storage_options=delta_options(settings))
    found: list[Archived] = []
    for row in _candidates(table, post_id):
        fact, reason = judge(row["topic"], row["value"], row["arrived_at"])
        if _names(fact, reason, row["value"], post_id):
            kept = {name: fact.get(name) for name in _KEPT}
            found.append(Archived(row["topic"], row["partition"], row["offset"], row["arrived_at"], kept, reason))
        if len(found) > MOST_RECORDS:
            raise TooMuchError(f"post {post_id} has more than {MOST_RECORDS:,} records: too many to tell apart here")
    return found


def _erased(settings: Settings, post_id: str) -> Set[tuple[str, int, int]]:
    """Where the records of the post were that `msm forget` took out of the archive."""
    try:
        table = DeltaTable(str(lake(settings) / tables.ERASED), storage_options=delta_options(settings))
    except TableNotFoundError:
        return frozenset()
    places = table.to_pyarrow_table(columns=_COLUMNS[:3], filters=[("post_id", "=", post_id)])
    return {(place["topic"], place["partition"], place["offset"]) for place in places.to_pylist()}


_KEPT = ("event_id", "event_type", "occurred_at", "user_id", "comment_id")


def _candidates(table: DeltaTable, post_id: str) -> Iterator[dict[str, Any]]:
    # With these comes pandas: a feed that starts does not wait for it, and it is no part of the time that is allowed.
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    deadline = time.monotonic() + SECONDS
    value = ds.field("value")
    # JSON may write any letter of the id as an escape: such records are looked at more closely.
    is_near = pc.match_substring(value, post_id.encode()) | pc.match_substring(value, b"\\u00")
    options = ds.ParquetFragmentScanOptions(use_buffered_stream=True, pre_buffer=False)
    scanner = table.to_pyarrow_dataset().scanner(
        columns=_COLUMNS,
        filter=is_near,
        batch_size=BATCH,
        batch_readahead=2,
        fragment_readahead=1,
        fragment_scan_options=options,
    )
    for batch in scanner.to_batches():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the archive could not be read within {SECONDS:.0f} s: try again later")
        yield from batch.to_pylist()


def _names(fact: dict[str, Any], reason: str | None, value: bytes | None, post_id: str) -> bool:
    if reason != "not_json":
        return fact.get("post_id") == post_id
    word = rb"(?<![A-Za-z0-9_-])" + post_id.encode() + rb"(?![A-Za-z0-9_-])"
    return re.search(word, value or b"") is not None


@router.get(
    "/posts/{post_id}/explain",
    summary="Which facts made a post's numbers",
    responses=refusals(_404="nothing is known of such a post"),
)
async def explain(
    request: Request,
    post_id: Annotated[str, Path(pattern=f"^{IDENTIFIER}$")],
    newest: Annotated[int, Query(ge=0, le=100, description="how many of each class and topic are named")] = 10,
) -> Explanation:
    """Every archived record that names the post, in one class each; 503 where too many ask, or it takes too long."""
    body, seen = request.app.state.refresh_feed.view.row(post_id)  # here: a view has a connection for each thread
    published = PostWithCounts.model_validate_json(body) if body else None
    settings = cast(Settings, request.app.state.settings)
    address = network_of(request.scope["client"])
    if address in _asking:
        raise HTTPException(429, "an explanation is being made for you; try again later", headers=retry_after(2))
    if not _places.acquire(blocking=False):
        raise HTTPException(503, f"{AT_ONCE} explanations are being made: try again", headers=retry_after(2))
    _asking.add(address)
    try:
        found = await asyncio.to_thread(_explained_in_its_place, address, settings, post_id, published, seen, newest)
    except TooMuchError as error:
        raise HTTPException(422, str(error)) from None
    except TableNotFoundError:
        raise HTTPException(404, "there is no archive yet: it is made by the jobs") from None
    except TimeoutError as error:
        raise HTTPException(503, str(error), headers=retry_after(5)) from None
    if not found.records and published is None:
        raise HTTPException(404, "nothing is known of such a post")
    return found


def _explained_in_its_place(address: str, *about: Any) -> Explanation:
    """It gives its place back itself: whoever asked may be gone before it has ended."""
    try:
        return explanation(*about)
    finally:
        _asking.discard(address)
        _places.release()

"""What happens on the network, as records: a pure function of a seed and of the moments given."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from contract.facts import (
    CommentAdded,
    CommentDeleted,
    Fact,
    PostCreated,
    PostDeleted,
    PostLiked,
    PostUnliked,
    format_time,
)
from producers.publisher import Record
from producers.simulator.broken import BREAKS
from producers.simulator.network import Network, Post
from producers.simulator.words import caption, remark

F = TypeVar("F", bound=Fact)
OPENING_SPAN = timedelta(minutes=50)


@dataclass(frozen=True)
class Mix:
    """How often what happens; weights. Likes are the bulk, as everywhere."""

    create_post: float = 1.5
    like: float = 70
    unlike: float = 6
    comment: float = 17
    delete_comment: float = 1.5
    delete_post: float = 0.15
    early_like: float = 0.3  # before its post
    stranger: float = 0.3  # tries to delete what is not theirs
    redeliver: float = 1
    broken: float = 0.3

    late: float = 0.015  # the share of likes and comments that are dated earlier, up to a month


def history(
    seed: int,
    moments: Iterable[datetime],
    *,
    users: int = 2_000,
    opening_posts: int = 30,
    images: Sequence[str] = ("/media/none.png",),
    mix: Mix | None = None,
) -> Iterator[Record]:
    """One record a moment, the first `opening_posts` of them posts of the past hour. Same input, same bytes."""
    story = _Story(seed, users, images, mix or Mix())
    for number, moment in enumerate(moments):
        if number < opening_posts or not story.network.posts:
            back = OPENING_SPAN * (1 - (number + 1) / opening_posts) if opening_posts else timedelta()
            yield story.tell(story.create_post, moment - max(back, timedelta()))
        else:
            yield story.tell(story.next_event(), moment)


class _Story:
    def __init__(self, seed: int, users: int, images: Sequence[str], mix: Mix) -> None:
        self.rng = random.Random(f"history {seed}")
        self.network = Network(self.rng, users)
        self._images, self._late = images, mix.late
        self._told: deque[Record] = deque(maxlen=2_000)
        self._awaited: deque[tuple[int, Callable[[], Fact]]] = deque()
        self._count = 0
        self._now = datetime.min
        self._events: list[Callable[[], Fact | Record]] = [
            self.create_post,
            self._like,
            self._unlike,
            self._comment,
            self._delete_comment,
            self._delete_post,
            self._early_like,
            self._stranger,
            self._redeliver,
            self._broken,
        ]
        self._weights = (
            mix.create_post,
            mix.like,
            mix.unlike,
            mix.comment,
            mix.delete_comment,
            mix.delete_post,
            mix.early_like,
            mix.stranger,
            mix.redeliver,
            mix.broken,
        )

    def tell(self, event: Callable[[], Fact | Record], moment: datetime) -> Record:
        """What the event writes when it happens at that moment."""
        self._now = moment
        self._count += 1
        told = event()
        if isinstance(told, Record):
            return told
        record = Record.of(told)
        self._told.append(record)
        return record

    def next_event(self) -> Callable[[], Fact | Record]:
        """A post whose first likes were faster, or whatever chance brings."""
        if self._awaited and self._awaited[0][0] <= self._count:
            return self._awaited.popleft()[1]
        return self.rng.choices(self._events, self._weights)[0]

    def create_post(self) -> Fact:
        user = self.network.anybody()
        return self._post_fact(self.network.add(self._uuid().hex, user))

    def _post_fact(self, post: Post) -> Fact:
        return self._fact(PostCreated, post, post.user_id, caption=caption(self.rng), image_url=self._image())

    def _like(self) -> Fact:
        post, user = self.network.seen_post(), self.network.anybody()
        post.likers.append(user)
        return self._fact(PostLiked, post, user, late=True)

    def _unlike(self) -> Fact:
        post = self.network.seen_post()
        if not post.likers:
            return self._like()
        user = self.rng.choice(post.likers)
        post.likers.remove(user)
        return self._fact(PostUnliked, post, user)

    def _comment(self) -> Fact:
        post, user, comment_id = self.network.seen_post(), self.network.anybody(), self._uuid().hex
        post.comments.append((comment_id, user))
        text = remark(self.rng)
        return self._fact(CommentAdded, post, user, late=True, comment_id=comment_id, text=text)

    def _delete_comment(self) -> Fact:
        post = self.network.seen_post()
        if not post.comments:
            return self._comment()
        comment_id, user = self.rng.choice(post.comments)
        post.comments.remove((comment_id, user))
        return self._fact(CommentDeleted, post, user, comment_id=comment_id)

    def _delete_post(self) -> Fact:
        if len(self.network.posts) < 10:
            return self.create_post()
        post = self.rng.choice(list(self.network.posts)[-200:])
        self.network.remove(post)
        return self._fact(PostDeleted, post, post.user_id)

    def _early_like(self) -> Fact:
        post = Post(self._uuid().hex, self.network.anybody(), 1.0)
        created = self._now
        self._awaited.append((self._count + self.rng.randint(3, 30), lambda: self._appears(post, created)))
        return self._fact(PostLiked, post, self.network.anybody())

    def _appears(self, post: Post, created: datetime) -> Fact:
        self._now = created
        self.network.posts.append(post)
        return self._post_fact(post)

    def _stranger(self) -> Fact:
        post, stranger = self.network.seen_post(), self.network.anybody()
        if post.comments and self.rng.random() < 0.5:
            comment_id = post.comments[0][0]
            return self._fact(CommentDeleted, post, f"{stranger}_stranger", comment_id=comment_id)
        return self._fact(PostDeleted, post, f"{stranger}_stranger")

    def _redeliver(self) -> Fact | Record:
        return self.rng.choice(self._told) if self._told else self._like()

    def _broken(self) -> Record:
        fact = self._fact(PostLiked, self.network.seen_post(), self.network.anybody())
        return BREAKS[self.rng.choice(list(BREAKS))](self.rng, fact)

    def _fact(self, kind: type[F], post: Post, user: str, *, late: bool = False, **fields: str) -> F:
        occurred_at = self._now - self._lateness() if late else self._now
        return kind(
            event_id=str(self._uuid()),
            occurred_at=format_time(occurred_at),
            user_id=user,
            post_id=post.post_id,
            **fields,
        )

    def _lateness(self) -> timedelta:
        if self.rng.random() >= self._late:
            return timedelta()
        longest = self.rng.choices([60, 24 * 60, 30 * 24 * 60], [6, 3, 1])[0]
        return timedelta(minutes=self.rng.uniform(1, longest))

    def _image(self) -> str:
        return self.rng.choice(self._images)

    def _uuid(self) -> UUID:
        """A UUIDv7 of the story's own time and chance."""
        milliseconds = int(self._now.timestamp() * 1000)
        head = (milliseconds << 80) | (0x7 << 76) | (self.rng.getrandbits(12) << 64)
        return UUID(int=head | (0x2 << 62) | self.rng.getrandbits(62))

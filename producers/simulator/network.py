"""The network's people and posts: who is active, what is popular, what goes viral."""

import random
from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate

from producers.simulator.words import user_names

RECENT_POSTS = 150
KEPT_POSTS = 5_000
VIRAL_FACTS = 2_500  # how long one post is the talk of the network
VIRAL_PEAK = 0.35  # the share of all attention that it has then


@dataclass(eq=False)
class Post:
    """A post as its users see it."""

    post_id: str
    user_id: str
    appeal: float
    likers: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    comments: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=20))  # id, author


class Network:
    """Living posts and their pull, by recency, a heavy-tailed appeal, and one that goes viral."""

    def __init__(self, rng: random.Random, users: int) -> None:
        self._rng = rng
        self.users = user_names(users)
        self.posts: deque[Post] = deque(maxlen=KEPT_POSTS)
        self._viral: Post | None = None
        self._viral_age = 0
        self._weighed: tuple[list[Post], list[float]] = ([], [])
        self._picks = 0

    def anybody(self) -> str:
        """A user; some are far more active than others (Zipf's law, about)."""
        return self.users[int(len(self.users) ** self._rng.random()) - 1]

    def add(self, post_id: str, user_id: str) -> Post:
        """A new post; its appeal is heavy-tailed, so that few posts get most of the likes."""
        post = Post(post_id, user_id, self._rng.paretovariate(1.2))
        self.posts.append(post)
        return post

    def remove(self, post: Post) -> None:
        """Nobody sees it any more."""
        self.posts.remove(post)
        self._weighed = ([], [])
        if self._viral is post:
            self._viral = None

    def seen_post(self) -> Post:
        """The post that somebody looks at now: mostly a recent one, often the viral one, seldom an old one."""
        viral = self._viral_post()
        if viral and self._rng.random() < VIRAL_PEAK * (1 - abs(2 * self._viral_age / VIRAL_FACTS - 1)):
            return viral
        if self._rng.random() < 0.05:
            return self._rng.choice(self.posts)
        posts, weights = self._recent()
        return self._rng.choices(posts, cum_weights=weights)[0]

    def _viral_post(self) -> Post | None:
        self._viral_age += 1
        if self._viral is None or self._viral_age > VIRAL_FACTS:
            self._viral, self._viral_age = self._rng.choice(list(self.posts)[-20:]), 0
        return self._viral

    def _recent(self) -> tuple[list[Post], list[float]]:
        self._picks += 1
        if not self._weighed[0] or self._picks % 50 == 0:
            newest_first = list(self.posts)[-RECENT_POSTS:][::-1]
            pull = (post.appeal / (1 + age / 15) for age, post in enumerate(newest_first))
            self._weighed = newest_first, list(accumulate(pull))
        return self._weighed

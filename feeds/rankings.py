"""The newest ranking of each ranking topic."""

import json
from collections.abc import Mapping, Sequence

from feeds.records import RankingChange, RankingSeen
from feeds.view import View


class RankingStore(View):
    """The trending feed's view of `trending_posts` and `rising_posts`."""

    schema = """
    create table rankings (topic text primary key, body text not null, seen text not null);
    """

    def apply(self, changes: Sequence[RankingChange], offsets: Mapping[tuple[str, int], int]) -> dict[str, str]:
        """Take a batch in, as one; the new rankings as JSON by topic.

        Each topic has one partition and one writer: the last one written is the newest, whatever its clock said.
        """
        news = {change.topic: change for change in changes}
        bodies = {topic: change.ranking.model_dump_json() for topic, change in news.items()}
        with self.writing(offsets) as db:
            db.executemany(
                "insert or replace into rankings values (?, ?, ?)",
                [(topic, bodies[topic], json.dumps(news[topic].seen)) for topic in news],
            )
        return bodies

    def body(self, topic: str) -> str | None:
        """The newest ranking as JSON; None when there has been none yet."""
        row = self.one("select body from rankings where topic = ?", topic)
        return row[0] if row else None

    def seen(self, topic: str) -> RankingSeen:
        """What had been read when the newest ranking was made."""
        row = self.one("select seen from rankings where topic = ?", topic)
        seen: RankingSeen = json.loads(row[0]) if row else {}
        return seen

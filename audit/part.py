"""A part of all posts: each audit of the stack judges the next one, so that none takes longer and longer."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from audit.archive import PLACE
from contract.facts import IDENTIFIER

RECORDS = 2_000_000
"""Of so many records all posts are one part; of more, a part has about as many: two minutes of one core."""


@dataclass(frozen=True)
class Part:
    """The posts whose hash leaves `number` when it is divided by `of`."""

    number: int = 0
    of: int = 1

    @classmethod
    def at(cls, turn: int, records: int) -> "Part":
        """The part whose turn it is: `of` turns, one after the other, have every post once.

        `of` is a power of two: when there are more parts, each is half of one of before.
        """
        of = 1
        while of * RECORDS < records:
            of *= 2
        return cls(turn % of, of)

    @property
    def is_whole(self) -> bool:
        return self.of == 1

    def has(self, post_id: Column) -> Column:
        """Whether the post is one of the part."""
        return F.lit(True) if self.is_whole else F.pmod(F.xxhash64(post_id), F.lit(self.of)) == self.number

    def may_have(self, key: Column, value: Column) -> Column:
        """Whether the record, as it came, may be a fact about a post of the part; without parsing it.

        A fact has its post for a key, as a rule. Where the text names the post of the key, once, and nothing in it is
        escaped, it is a fact about that post or none at all. What is not so plain may be a fact about any.
        """
        post_id, body = key.cast("string"), value.cast("string")
        is_named, is_named_so = (
            F.contains(body, F.concat(F.lit(f'"post_id":{gap}"'), post_id, F.lit('"'))) for gap in ("", " ")
        )
        is_once = F.octet_length(body) - F.octet_length(F.replace(body, F.lit("post_id"))) == len("post_id")
        is_identifier = post_id.rlike(rf"^{IDENTIFIER}\z")
        is_plain = is_identifier & (is_named | is_named_so) & is_once & ~F.contains(body, F.lit("\\"))
        return self.has(post_id) | ~F.coalesce(is_plain, F.lit(False))

    def chosen(self, records: DataFrame, letters: DataFrame) -> DataFrame:
        """The records that an audit of the part must parse: (topic, partition, offset, arrived_at, key, value).

        Those that may be facts about its posts; all of the topic of posts; and each that has one of the `letters`
        (topic, partition, offset): a letter must be right.
        """
        about = letters.select(PLACE).distinct().withColumn("has_letter", F.lit(True))
        is_looked_at = (F.col("topic") == "posts") | F.col("has_letter").isNotNull()
        is_chosen = is_looked_at | self.may_have(F.col("key"), F.col("value"))
        return records.join(about, PLACE, "left").where(is_chosen).select(*records.columns)


WHOLE = Part()

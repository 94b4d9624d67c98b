"""No part misses a fact about its posts, whatever its key or form; most of what is about others is not parsed."""

import json

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from audit.part import RECORDS, WHOLE, Part
from jobs.transforms.facts import facts
from tests.jobs.histories import RECORD
from tests.jobs.test_facts import ARRIVED, FACT, HOSTILE, like

PARTS = [Part(number, 4) for number in range(4)]
POST = json.loads(FACT)["post_id"]
ESCAPED = FACT[:-1] + b', "\\u0070ost_id": "other"}'
STRANGE = [
    (b"other", FACT),
    (None, FACT),
    (b"other", ESCAPED),
    (POST.encode(), ESCAPED),
    (POST.encode(), FACT[:-1] + b', "post_id": "other"}'),
    (b"other", FACT[:-1] + b', "text": "{\\"post_id\\":\\"other\\"}"}'),
    (b"other", b'{"more": {"post_id": "other"}, ' + FACT.replace(b'"post_id"', b'"\\u0070ost_id"')[1:]),
    (b'a","x":"b', like(post_id="a", x="b").replace(b": ", b":").replace(b", ", b",")),
    (b"\xff", FACT),
]


def of(spark: SparkSession, topic: str, values: list[tuple[bytes | None, bytes | None]]) -> DataFrame:
    return spark.createDataFrame([(topic, 0, at, ARRIVED, *one) for at, one in enumerate(values)], RECORD)


def may_have(part: Part) -> Column:
    """As a filter has it."""
    return F.coalesce(part.may_have(F.col("key"), F.col("value")), F.lit(False))


@pytest.mark.spark
def test_a_fact_is_in_the_part_of_its_post_and_each_record_in_one_at_least(spark: SparkSession) -> None:
    hostile = [(topic, value) for _, (topic, value), _ in HOSTILE]
    records = of(spark, "likes", STRANGE)
    for topic in ("posts", "likes", "comments"):
        records = records.unionByName(
            of(spark, topic, [(POST.encode(), value) for at, value in hostile if at == topic])
        )
    parsed = records.transform(facts)
    is_fact = F.col("reason").isNull()
    missed = [F.count_if(is_fact & part.has(F.col("post_id")) & ~may_have(part)) for part in PARTS]
    chances = [may_have(part).cast("int") for part in PARTS]
    nowhere = F.count_if(sum(chances[1:], chances[0]) == 0)
    found = parsed.agg(*missed, nowhere, F.count_if(is_fact)).first()
    assert found is not None
    assert list(found[:5]) == [0] * 5
    assert found[5] > len(STRANGE)


@pytest.mark.spark
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_of_plain_facts_each_is_in_one_part(spark: SparkSession, separators: tuple[str, str]) -> None:
    posts = [f"post{number}" for number in range(200)]
    plain = [
        (post.encode(), json.dumps({**json.loads(FACT), "post_id": post}, separators=separators).encode())
        for post in posts
    ]
    records, none = of(spark, "likes", plain), of(spark, "likes", [])
    sizes = [part.chosen(records.withColumnRenamed("timestamp", "arrived_at"), none).count() for part in PARTS]
    assert sum(sizes) == len(posts)
    assert max(sizes) < len(posts) / 2


@pytest.mark.spark
def test_posts_and_what_has_a_letter_is_in_every_part(spark: SparkSession) -> None:
    part = next(part for part in PARTS if not spark.range(1).where(part.has(F.lit(POST))).count())
    plain = of(spark, "likes", [(POST.encode(), FACT)]).unionByName(of(spark, "posts", [(b"ada", FACT)]))
    records = plain.withColumnRenamed("timestamp", "arrived_at")
    letters = spark.createDataFrame([("likes", 0, 0), ("likes", 0, 0)], "topic string, partition int, offset bigint")
    none = letters.limit(0)

    def chosen(letters: DataFrame) -> list[str]:
        return sorted(row.topic for row in part.chosen(records, letters).collect())

    assert chosen(none) == ["posts"]
    assert chosen(letters) == ["likes", "posts"]


def test_few_records_are_one_part_and_of_many_each_part_has_its_turn() -> None:
    assert Part.at(7, RECORDS) == WHOLE
    assert [Part.at(turn, RECORDS + 1) for turn in range(3)] == [Part(0, 2), Part(1, 2), Part(0, 2)]
    assert {Part.at(turn, 100 * RECORDS) for turn in range(5, 5 + 128)} == {Part(number, 128) for number in range(128)}

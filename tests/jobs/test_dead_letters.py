"""What is no fact becomes a dead letter that says why, holds what came, and is written once."""

import base64
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from contract.results import DeadLetter
from jobs.sinks.dead_letters import DeadLetterSink
from jobs.transforms.dead_letters import VALUE_MAX_BYTES, dead_letter_records, dead_letters
from jobs.transforms.facts import facts
from tests.jobs.histories import RECORD
from tests.stack.hostile import read

pytestmark = pytest.mark.spark
ARRIVED = datetime(2026, 11, 20, 14, 0, 0, 123_000, tzinfo=timezone.utc)
ALWAYS = {"reason", "detail", "topic", "partition", "offset", "arrived_at", "key", "value"}


def judged(spark: SparkSession, *records: tuple[bytes | None, bytes | None]) -> DataFrame:
    """Records of `likes`, (key, value) each, judged."""
    rows = [("likes", 3, 40 + at, ARRIVED, key, value) for at, (key, value) in enumerate(records)]
    return spark.createDataFrame(rows, RECORD).transform(facts)


def letters(spark: SparkSession, *records: tuple[bytes | None, bytes | None]) -> list[tuple[Any, dict[str, Any]]]:
    """(key, value) of each dead letter, in the order of its record."""
    made = judged(spark, *records).transform(dead_letters).transform(dead_letter_records).collect()
    read = [(row.key, json.loads(row.value)) for row in made]
    return sorted(read, key=lambda letter: letter[1]["offset"])


def test_a_letter_says_what_came_whence_and_why(spark: SparkSession) -> None:
    [(key, letter)] = letters(spark, (b"p1", b'{"event_type": "post_hated"}'))
    assert bytes(key) == b"p1"
    assert letter == {
        "reason": "unknown_type",
        "detail": "event_type post_hated",
        "topic": "likes",
        "partition": 3,
        "offset": 40,
        "arrived_at": "2026-11-20T14:00:00.123Z",
        "key": "p1",
        "value": '{"event_type": "post_hated"}',
    }
    assert DeadLetter.model_validate(letter)


def test_a_fact_is_no_dead_letter(spark: SparkSession) -> None:
    fact = {"event_id": "e", "event_type": "post_liked", "user_id": "u", "post_id": "p"}
    value = json.dumps({**fact, "occurred_at": "2026-11-20T13:00:00.000Z"}).encode()
    assert letters(spark, (b"p", value)) == []


def test_nulls_stay_and_the_fields_with_them(spark: SparkSession) -> None:
    [(key, letter)] = letters(spark, (None, None))
    assert key is None
    assert (letter["key"], letter["value"], set(letter)) == (None, None, ALWAYS)


def test_what_is_no_text_is_kept_byte_by_byte(spark: SparkSession) -> None:
    value = bytes(range(256))
    [(key, letter)] = letters(spark, (b"\xff\xfe", value))
    assert bytes(key) == b"\xff\xfe"
    assert (letter["reason"], letter["encoding"]) == ("not_json", "base64")
    assert base64.b64decode(letter["value"]) == value
    assert "truncated" not in letter


@pytest.mark.parametrize("size", [VALUE_MAX_BYTES - 1, VALUE_MAX_BYTES])
def test_up_to_64_kib_nothing_is_cut(spark: SparkSession, size: int) -> None:
    [(_, letter)] = letters(spark, (b"k", b"x" * size))
    assert len(letter["value"]) == size
    assert set(letter) == ALWAYS


def test_a_value_over_64_kib_is_cut_and_says_so(spark: SparkSession) -> None:
    (_, text), (_, binary) = letters(spark, (b"k", b"x" * 1_000_000), (b"k", b"\xff" * 1_000_000))
    assert (text["value"], text["truncated"]) == ("x" * VALUE_MAX_BYTES, True)
    assert base64.b64decode(binary["value"]) == b"\xff" * VALUE_MAX_BYTES
    assert (binary["encoding"], binary["truncated"]) == ("base64", True)


@pytest.mark.parametrize("character", ["é", "€", "😀", "\ufffd"])
def test_text_that_would_be_cut_inside_a_character_is_cut_before_it(spark: SparkSession, character: str) -> None:
    text = "x" + character * 40_000
    [(_, letter)] = letters(spark, (b"k", text.encode()))
    assert text.startswith(letter["value"])
    assert VALUE_MAX_BYTES - 4 < len(letter["value"].encode()) <= VALUE_MAX_BYTES
    assert (letter["truncated"], set(letter)) == (True, ALWAYS | {"truncated"})


@pytest.mark.kafka
def test_a_batch_that_is_run_again_after_a_kill_writes_no_letter_twice(spark: SparkSession, kafka: Settings) -> None:
    batch = judged(spark, (b"k", b"one"), (b"k", b"two")).transform(dead_letters)
    DeadLetterSink(kafka).send(batch.where("offset = 40"))  # killed in the middle of writing
    restarted = DeadLetterSink(kafka)
    restarted.send(batch)
    restarted.send(judged(spark, (b"k", b"three")).transform(dead_letters))
    written = [json.loads(record.value)["value"] for record in read(kafka, "dead_letters")]
    assert sorted(written) == ["one", "three", "two"]


@pytest.mark.parametrize("byte", [b"k", b"\0", b"\xff", "é".encode()])
def test_a_key_of_a_megabyte_is_cut_so_that_the_letter_fits(spark: SparkSession, byte: bytes) -> None:
    [row] = (
        judged(spark, (byte * (1_040_000 // len(byte)), b"\0" * 8_000))
        .transform(dead_letters)
        .transform(dead_letter_records)
        .collect()
    )
    assert len(row.key) + len(row.value) < 1_000_000
    letter = json.loads(row.value)
    assert letter["truncated"] is True
    assert letter["reason"] == "not_json"

"""Poison among the facts: each record has its verdict, the one that the reference gives, and no batch dies of it.

A second and a half of random bytes here; `FUZZ_ROUNDS=200` throws more.
"""

import json
import os
import random

import pytest
from pyspark.sql import SparkSession

from tests.jobs.test_facts import ADDED, ARRIVED, CREATED, FACT, LIKE, Record, judged, like
from tests.reference_records import judge

pytestmark = pytest.mark.spark
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))
MB = 1_000_000


def extra(value: bytes) -> bytes:
    """A like with one more field."""
    return FACT[:-1] + b', "extra": ' + value + b"}"


def post(caption: str) -> bytes:
    return json.dumps({**CREATED, "caption": caption}).encode()


def lists(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def objects(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


POISON: list[tuple[str, bytes, str | None]] = [
    ("800 levels of lists", extra(lists(800)), None),
    ("800 levels of objects", extra(objects(800)), None),
    ("brackets that are text", extra(json.dumps("[{" * 5_000).encode()), None),
    *((f"{levels} levels of lists", extra(lists(levels)), "not_json") for levels in (1_001, 10_000, 250_000)),
    *((f"{levels} levels of objects", extra(objects(levels)), "not_json") for levels in (1_001, 10_000, 100_000)),
    ("lists that never end", b"[" * 500_000, "not_json"),
    ("objects that never end", b'{"a":' * 150_000, "not_json"),
    ("a list of 300,000", extra(b"[" + b"1," * 300_000 + b"1]"), None),
    ("70,000 fields", FACT[:-1] + b"".join(b', "f%d": 1' % at for at in range(70_000)) + b"}", None),
    ("a name of 50,001", FACT[:-1] + b', "' + b"k" * 50_001 + b'": 1}', "not_json"),
    ("a text of a megabyte", extra(b'"' + b"a" * MB + b'"'), None),
    ("a caption of a megabyte", post("a" * MB), "bad_field"),
    ("a type of a megabyte", like(event_type="a" * MB), "unknown_type"),
    ("a type that is a number of a megabyte", FACT.replace(b'"post_liked"', b"9" * MB), "not_json"),
    ("1e400", extra(b"1e400"), None),
    ("1e999999999", extra(b"1e999999999"), None),
    ("1,000 digits", extra(b"9" * 1_000), None),
    ("1,001 digits", extra(b"9" * 1_001), "not_json"),
    ("a fraction of 5,000 digits", extra(b"0." + b"9" * 5_000), "not_json"),
    ("01", extra(b"01"), "not_json"),
    ("+1", extra(b"+1"), "not_json"),
    (".5", extra(b".5"), "not_json"),
    ("-Infinity", extra(b"-Infinity"), "not_json"),
    ("Infinity", extra(b"Infinity"), "not_json"),
    ("numbers as text", like(user_id="7", post_id="1e5"), None),
    ("half a surrogate in a caption", post("\ud800"), None),
    ("2,200 halves of surrogates", post("\udc00" * 2_200), None),
    ("half a surrogate behind a bracket", post("[\ud83d"), None),
    ("half a surrogate behind a quote", post('"nice" \ud83d'), None),
    (
        "a name twice in a field of another type, and a user that is a number",
        b'{"text": {"a": {"k": 1, "k": 2}, "b": 1}, ' + FACT.replace(b'"ada"', b'"7"').replace(b'"p1"', b'"1e5"')[1:],
        None,
    ),
    ("half a surrogate as a user", like(user_id="\ud800"), "bad_field"),
    ("a surrogate in UTF-8", post("@").replace(b"@", b"\xed\xa0\x80"), "not_json"),
    ("an overlong slash", post("@").replace(b"@", b"\xc0\xaf"), "not_json"),
    ("2,200 characters beyond the first plane", post("😀" * 2_200), None),
    ("a NUL in a caption", post("\0"), None),
    ("a NUL in a user", like(user_id="a\0"), "bad_field"),
    ("a raw NUL", FACT.replace(b"ada", b"a\0a"), "not_json"),
    ("a NUL behind it", FACT + b"\0", "not_json"),
    ("a raw line's end in a text", FACT.replace(b"ada", b"a\na"), "not_json"),
    ("UTF-16", FACT.decode().encode("utf-16"), "not_json"),
    ("UTF-16 without a mark", FACT.decode().encode("utf-16-le"), "not_json"),
    ("UTF-32", FACT.decode().encode("utf-32"), "not_json"),
    ("a type twice", FACT[:-1] + b', "event_type": "nope"}', "unknown_type"),
    ("a user and then none", FACT[:-1] + b', "user_id": null}', "missing_field"),
    ("a user and then an object", FACT[:-1] + b', "user_id": {"a": 1}}', "bad_field"),
    ("no user and then one", b'{"user_id": 7, ' + FACT[1:], None),
    ("a name with an escape", FACT.replace(b'"user_id"', b'"user\\u005fid"'), None),
    ("an escape that there is not", FACT.replace(b"ada", b"a\\xa"), "not_json"),
    ("a comment before it", b"/* x */" + FACT, "not_json"),
    ("a comma at its end", FACT[:-1] + b",}", "not_json"),
    ("a space that JSON lacks", b"\xc2\xa0" + FACT, "not_json"),
    ("a form feed", b"\x0c" + FACT, "not_json"),
    ("a field without a name", FACT[:-1] + b', "": 1}', None),
    ("a field that the parser uses itself", FACT[:-1] + b', "_malformed": "x"}', None),
    ("a type in a list", like(event_type=["post_liked"]), "unknown_type"),
]


def topic_of(value: bytes) -> str:
    return "posts" if b"post_created" in value else "likes"


@pytest.fixture(scope="module")
def verdicts(spark: SparkSession) -> dict[str, str | None]:
    found = judged(spark, [(topic_of(value), value) for _, value, _ in POISON])
    return {name: reason for (name, _, _), reason in zip(POISON, found, strict=True)}


@pytest.mark.parametrize(("name", "value", "reason"), POISON, ids=[name for name, _, _ in POISON])
def test_poison_is_judged(verdicts: dict[str, str | None], name: str, value: bytes, reason: str | None) -> None:
    assert judge(topic_of(value), value, ARRIVED) == reason, "the reference"
    assert verdicts[name] == reason


PIECES = [b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"1e9", b"-"]
PIECES += [b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\0", b"\n", b"\x1f", b"\x7f", "é😀".encode(), b" ", b"7", b'"user_id":']


def mangled(chance: random.Random) -> Record:
    """A fact of which some bytes are gone, doubled, changed or others."""
    value = bytearray(json.dumps(chance.choice([LIKE, CREATED, ADDED]), ensure_ascii=chance.random() < 0.5).encode())
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        at, length = chance.randrange(len(value) + 1), chance.choice([0, 0, 1, 1, 2, 20])
        piece = chance.choice(PIECES) if chance.random() < 0.8 else bytes([chance.randrange(256)])
        again = bytes(value[at : at + length]) * chance.choice([0, 0, 2])
        value[at : at + length] = piece + again
    topic = chance.choice(["likes", "posts", "comments"])
    return topic, bytes(value)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_mangled_facts_are_judged_as_the_reference_does(spark: SparkSession, seed: int) -> None:
    chance = random.Random(seed)
    records = [mangled(chance) for _ in range(4_000)]
    expected = [judge(topic, value, ARRIVED) for topic, value in records]
    assert {None, "not_json", "unknown_type", "wrong_topic", "missing_field", "bad_field"} <= set(expected)
    found = judged(spark, records)
    assert [one for one in zip(records, found, expected, strict=True) if one[1] != one[2]] == []

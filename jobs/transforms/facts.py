"""From Kafka records to facts: parse once, judge, say why not."""

from collections.abc import Callable
from functools import cache, reduce
from operator import and_
from string import ascii_letters, digits

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contract.facts import (
    FACT_BY_TYPE,
    FUTURE_TOLERANCE_SECONDS,
    IDENTIFIER,
    IDENTIFIER_MAX,
    LENGTHS,
    TIMESTAMP,
    Fact,
)
from contract.spark import FACT_FIELDS

_JSON = {
    "allowSingleQuotes": "false",
    "allowNonNumericNumbers": "false",
    "columnNameOfCorruptRecord": "_malformed",
}
_TEXT_FIELDS = ", ".join(f"{name} string" for name in FACT_FIELDS)
_TYPED_FIELDS = ", ".join(f"{name} variant" for name in FACT_FIELDS)
# What producers write as a rule: a flat object of strings without escapes; names in _id and _at tell which form is due.
# Java takes a class of single characters by one look at a table, and runs over it without possessive marks in one loop;
# no mark is needed, since what follows each of these loops cannot begin within it.
_GAP = r"[ \t\r\n]*"
_IS = rf"{_GAP}:{_GAP}"
_TEXT = r'"[^"\\]*"'
_IDENTIFIER = rf"[{ascii_letters}{digits}_\-]+"
_MEMBERS = (
    rf'[a-z]+_(?>id"{_IS}"{_IDENTIFIER}"|at"{_IS}"{TIMESTAMP}"|(?!id"|at")[a-z_]+"{_IS}{_TEXT})',
    rf'[a-z]+"{_IS}{_TEXT}',
)
_MEMBER = rf'{_GAP}"(?>{"|".join(_MEMBERS)}){_GAP}'
_PLAIN_FACT = rf"^\{{{_MEMBER}(?:,{_MEMBER}){{4,15}}+\}}\z"
_KINDS = [f"{model.topic} {name}" for name, model in FACT_BY_TYPE.items()]
# A flat object and nothing behind it; anything else is looked at twice.
_ONE_FLAT_OBJECT = r"^[^\]}]*\}[ \t\r\n]*\z"
# from_json turns numbers, booleans, objects and arrays into text: such text is looked at twice.
_MAYBE_NO_STRING = r"^(-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\z|true\z|false\z|[{\[\"])"


def facts(records: DataFrame) -> DataFrame:
    """Kafka records (topic, partition, offset, timestamp, key, value) with the fields of their fact.

    `reason` and `detail` are null for a fact, else why it is none (docs/counting.md, rule 8).
    """
    return (
        records.withColumn("body", F.col("value").cast("string"))
        # A generator is a barrier: without it each use of a field would parse the record again.
        .select("*", F.inline(F.array(F.from_json("body", f"{_TEXT_FIELDS}, _malformed string", _JSON))))
        .withColumn("reason", _reason())
        .withColumn("detail", F.when(F.col("reason").isNotNull(), _detail()))
        .withColumnRenamed("timestamp", "arrived_at")
        .select("topic", "partition", "offset", "arrived_at", "key", "value", *FACT_FIELDS, "reason", "detail")
    )


def valid(judged: DataFrame) -> DataFrame:
    """The facts among the judged records."""
    return judged.where(F.col("reason").isNull())


@cache  # some hundred calls into the JVM each, and a job needs them up to four times
def _reason() -> Column:
    event_type = F.col("event_type")
    checks = [
        (_is_no_json(), "not_json"),
        (event_type.isNotNull() & ~event_type.isin(*FACT_BY_TYPE), "unknown_type"),
        (event_type.isNotNull() & (_home_topic() != F.col("topic")), "wrong_topic"),
        (_first_field(_missing).isNotNull(), "missing_field"),
        (_first_field(_bad).isNotNull(), "bad_field"),
        (_is_from_the_future(), "from_the_future"),
    ]
    return F.when(~_is_plain_fact(), _seldom(F.coalesce(*(F.when(check, F.lit(name)) for check, name in checks))))


def _seldom(column: Column) -> Column:
    """The same, interpreted: Spark generates no code for what a function of higher order does.

    For what few records need: its code would be nine tenths of all, and each task writes it anew.
    """
    return F.transform(F.array(F.lit(0)), lambda _: column)[0]


def _is_plain_fact() -> Column:
    """Whether one look tells that it is a fact; false says nothing, and each field is looked at."""
    body = F.col("body")
    is_plain = body.rlike(_PLAIN_FACT) & F.is_valid_utf8(body) & F.col("_malformed").isNull()
    is_home = F.concat_ws(" ", "topic", "event_type").isin(_KINDS)
    is_real_moment = (F.col("occurred_at") >= "0001") & ~_is_from_the_future()
    return F.coalesce(is_plain & is_home & is_real_moment & _fields_have_length(), F.lit(False))


def _fields_have_length() -> Column:
    """Whether all fields of its type are there and none is too long; the pattern tells the rest of their form."""
    further = {
        name: [field for field in model.model_fields if field not in Fact.model_fields]
        for name, model in FACT_BY_TYPE.items()
    }
    of_type = [
        F.when(F.col("event_type") == name, F.coalesce(reduce(and_, map(_has_length, fields)), F.lit(False)))
        for name, fields in further.items()
        if fields
    ]
    return reduce(and_, map(_has_length, Fact.model_fields)) & F.coalesce(*of_type, F.lit(True))


def _has_length(field: str) -> Column:
    """Null where it is not there."""
    column = F.col(field)
    if field in LENGTHS:
        return F.length(column).between(*LENGTHS[field])
    return F.octet_length(column) <= IDENTIFIER_MAX


@cache
def _detail() -> Column:
    said = {
        "not_json": F.lit("the value is not one JSON object in UTF-8"),
        "unknown_type": F.concat(F.lit("event_type "), F.left(F.col("event_type"), F.lit(64))),
        "wrong_topic": F.concat_ws(" ", "event_type", F.lit("belongs to"), _home_topic()),
        "missing_field": _first_field(_missing),
        "bad_field": _first_field(_bad),
        "from_the_future": F.concat(F.lit("occurred_at "), F.col("occurred_at")),
    }
    return _seldom(F.coalesce(*(F.when(F.col("reason") == reason, text) for reason, text in said.items())))


def _is_no_json() -> Column:
    body, is_flat = F.col("body"), F.col("body").rlike(_ONE_FLAT_OBJECT)
    unreadable = body.isNull() | ~F.is_valid_utf8(body) | F.col("_malformed").isNotNull()
    return unreadable | (~is_flat & ~_is_one_object()) | (F.trim(body) == "")


def _is_one_object() -> Column:
    """No text passes both as the only element of a list and as a member of an object but one whole value."""
    elements = F.from_json(F.concat(F.lit("["), "body", F.lit("]")), "array<struct<_malformed string>>", _JSON)
    member = F.from_json(F.concat(F.lit('{"m":'), "body", F.lit("}")), "m struct<x string>, _malformed string", _JSON)
    starts_as_object = F.col("body").rlike(r"^[ \t\r\n]*\{")
    return F.coalesce(starts_as_object & (F.size(elements) == 1) & member["_malformed"].isNull(), F.lit(False))


def _home_topic() -> Column:
    pairs = [F.lit(part) for name, model in FACT_BY_TYPE.items() for part in (name, model.topic)]
    return F.create_map(*pairs)[F.col("event_type")]


def _types_with(field: str) -> list[str]:
    return [name for name, model in FACT_BY_TYPE.items() if field in model.model_fields]


def _first_field(is_at_fault: Callable[[str], Column]) -> Column:
    """The name of the first field of this type of fact that is at fault, else null."""
    return F.coalesce(*(F.when(_belongs(field) & is_at_fault(field), F.lit(field)) for field in FACT_FIELDS))


def _belongs(field: str) -> Column:
    """Whether this type of fact has the field; a record without a type has at least the common ones."""
    types = _types_with(field)
    if len(types) == len(FACT_BY_TYPE):
        return F.lit(True)
    return F.coalesce(F.col("event_type").isin(*types), F.lit(False))


def _missing(field: str) -> Column:
    return F.col(field).isNull()


def _bad(field: str) -> Column:
    return ~_has_form(field) | (F.col(field).rlike(_MAYBE_NO_STRING) & ~_is_string(field))


def _has_form(field: str) -> Column:
    column = F.col(field)
    if field == "occurred_at":
        is_moment = column.try_cast("timestamp").isNotNull() & (column >= "0001")
        return column.rlike(rf"^{TIMESTAMP}\z") & is_moment
    if field in LENGTHS:
        return _has_length(field)
    return column.rlike(rf"^{IDENTIFIER}\z")


def _is_string(field: str) -> Column:
    typed = F.from_json("body", _TYPED_FIELDS, _JSON)[field]
    return F.coalesce(F.schema_of_variant(typed) == "STRING", F.lit(False))


def _is_from_the_future() -> Column:
    tolerance = F.expr(f"interval {FUTURE_TOLERANCE_SECONDS} seconds")
    return F.col("occurred_at").try_cast("timestamp") > F.col("timestamp") + tolerance

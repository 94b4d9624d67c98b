"""Spark schemas, derived from the models so that the two cannot drift apart."""

import typing
from types import UnionType
from typing import Any

from pydantic import BaseModel
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from contract.facts import FACT_MODELS, Moment
from contract.results import PostWithCounts, Ranking

_MOMENT = typing.get_args(Moment)[1]
_PLAIN: dict[Any, DataType] = {str: StringType(), bool: BooleanType(), int: LongType()}


def spark_schema(model: type[BaseModel], moments: DataType) -> StructType:
    """The model as a struct, `moments` being how its times are held: text, or timestamps.

    All fields are nullable: Spark's JSON reader and Delta's tables promise no more.
    """
    return StructType(
        [
            StructField(name, _spark_type(info.annotation, info.metadata, moments))
            for name, info in model.model_fields.items()
        ]
    )


def _spark_type(annotation: Any, metadata: list[Any], moments: DataType) -> DataType:
    if any(part is _MOMENT or part == _MOMENT for part in metadata):
        return moments
    if typing.get_origin(annotation) is list:
        return ArrayType(spark_schema(typing.get_args(annotation)[0], moments), False)
    return _PLAIN[_plain(annotation)]


def _plain(annotation: Any) -> Any:
    if typing.get_origin(annotation) is typing.Literal:
        return type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return _plain(next(part for part in typing.get_args(annotation) if part is not type(None)))
    return annotation


FACT_FIELDS: tuple[str, ...] = tuple(dict.fromkeys(name for model in FACT_MODELS for name in model.model_fields))
"""Every field that some fact has, the common ones first."""

POST_WITH_COUNTS_JSON = spark_schema(PostWithCounts, StringType())
POST_WITH_COUNTS_ROW = spark_schema(PostWithCounts, TimestampType())
RANKING_ROW = spark_schema(Ranking, TimestampType())

SEED_RECORD = (
    StructType()
    .add("topic", "string")
    .add("partition", "integer")
    .add("offset", "long")
    .add("timestamp", "timestamp")
    .add("key", "binary")
    .add("value", "binary")
)
"""A Kafka record as the jobs read it, taken from the table `events`."""

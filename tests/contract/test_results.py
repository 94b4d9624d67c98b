"""Results are as the contract says; JSON Schema, Spark schema and model never drift apart."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pyspark.sql.types import ArrayType, StringType, StructType, TimestampType

from contract.facts import FACT_MODELS
from contract.results import DeadLetter, PostWithCounts, RankedPost, Ranking, Token, read_seen
from contract.spark import FACT_FIELDS, POST_WITH_COUNTS_JSON, POST_WITH_COUNTS_ROW, RANKING_ROW, spark_schema

POST = ["post_id", "user_id", "image_url", "caption", "created_at", "likes", "comments", "updated_at", "version"]
RANKING = ["window_start", "window_end", "generated_at", "posts"]
RANKED = ["rank", "post_id", "user_id", "image_url", "caption", "likes", "comments", "score"]
LETTER = ["reason", "detail", "topic", "partition", "offset", "arrived_at", "key", "value", "encoding", "truncated"]
MODELS: list[tuple[type[BaseModel], list[str]]] = [
    (PostWithCounts, POST),
    (Ranking, RANKING),
    (RankedPost, RANKED),
    (DeadLetter, LETTER),
]
JSON_TYPES = {"string": "string", "long": "integer", "boolean": "boolean", "array": "array", "timestamp": "string"}


@pytest.mark.parametrize(("model", "fields"), MODELS)
def test_fields(model: type[BaseModel], fields: list[str]) -> None:
    assert list(model.model_fields) == fields


@pytest.mark.parametrize("model", [*(model for model, _ in MODELS), *FACT_MODELS])
def test_spark_schema_and_json_schema_say_the_same(model: type[BaseModel]) -> None:
    said = model.model_json_schema()
    _compare(spark_schema(model, StringType()), said, said.get("$defs", {}))


def _compare(struct: StructType, said: dict[str, Any], definitions: dict[str, Any]) -> None:
    assert struct.fieldNames() == list(said["properties"])
    for field in struct.fields:
        one = said["properties"][field.name]
        kinds = {part["type"] for part in one.get("anyOf", [one]) if "type" in part}
        assert kinds - {"null"} == {JSON_TYPES[field.dataType.typeName()]}, field.name
        if isinstance(field.dataType, ArrayType):
            name = one["items"]["$ref"].rpartition("/")[2]
            assert isinstance(field.dataType.elementType, StructType)
            _compare(field.dataType.elementType, definitions[name], definitions)


def test_times_are_text_in_kafka_and_timestamps_in_the_lake() -> None:
    times = {"created_at", "updated_at"}
    for schema, held in ((POST_WITH_COUNTS_JSON, StringType()), (POST_WITH_COUNTS_ROW, TimestampType())):
        assert schema.fieldNames() == POST
        assert all(schema[name].dataType == held for name in times)
    assert [field.name for field in RANKING_ROW.fields if field.dataType == TimestampType()] == RANKING[:3]


def test_the_parser_reads_every_field_of_every_fact() -> None:
    assert set(FACT_FIELDS) == {name for model in FACT_MODELS for name in model.model_json_schema()["properties"]}


@pytest.mark.parametrize("post_id", ["p1", "018f-aaaa-7bbb", "-", "a_b"])
def test_a_token_survives_the_way_to_a_client_and_back(post_id: str) -> None:
    token = Token(topic="likes", partition=3, offset=2**40, post_id=post_id)
    assert Token.parse(str(token)) == token


@pytest.mark.parametrize("text", ["", "likes", "likes-1-2", "likes-x-2-p", "likes-1--p", "likes-1-2-", "likes-1-2-a b"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises((ValueError, ValidationError)):
        Token.parse(text)


def test_the_seen_header() -> None:
    assert read_seen(json.dumps({"likes": [1, 2]}).encode()) == {"likes": [1, 2]}
    assert read_seen(None) == {}

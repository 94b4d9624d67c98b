"""Records that are no facts, as the dead letters of the contract."""

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

VALUE_MAX_BYTES = 64 * 1024
TIME_FORMAT = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"


def dead_letters(judged: DataFrame) -> DataFrame:
    """The judged records with a reason, one dead letter each; the first 64 KiB of the value, as text or base64.

    A key is cut like a value: the letter, which holds it twice, must fit into a record of a megabyte.
    """
    kept, key = F.substring("value", 1, VALUE_MAX_BYTES), F.substring("key", 1, VALUE_MAX_BYTES)
    # Of what is UTF-8 the last character may be cut: it has four bytes at the most.
    texts = [F.substring("value", 1, VALUE_MAX_BYTES - cut).cast("string") for cut in range(4)]
    is_text = F.is_valid_utf8(F.col("value").cast("string"))
    is_cut = F.greatest(F.octet_length("value"), F.octet_length("key")) > VALUE_MAX_BYTES
    return judged.where(F.col("reason").isNotNull()).select(
        "reason",
        "detail",
        "topic",
        "partition",
        "offset",
        "arrived_at",
        key.alias("original_key"),
        F.make_valid_utf8(key.cast("string")).alias("key"),
        F.when(is_text, F.coalesce(*map(F.try_validate_utf8, texts))).otherwise(F.base64(kept)).alias("value"),
        F.when(~is_text, F.lit("base64")).alias("encoding"),
        F.when(is_cut, F.lit(True)).alias("truncated"),
    )


def dead_letter_records(letters: DataFrame) -> DataFrame:
    """Dead letters as Kafka records under their original key; `encoding` and `truncated` only where they apply."""
    fields = ["reason", "detail", "topic", "partition", "offset", "key", "value"]
    arrived_at = F.date_format("arrived_at", TIME_FORMAT).alias("arrived_at")
    has = {name: F.col(name).isNotNull() for name in ("encoding", "truncated")}

    def written(*marks: str) -> Column:
        applies = reduce(Column.__and__, (has[name] if name in marks else ~has[name] for name in has))
        return F.when(applies, F.to_json(F.struct(*fields, arrived_at, *marks), {"ignoreNullFields": "false"}))

    value = F.coalesce(written(), written("encoding"), written("truncated"), written("encoding", "truncated"))
    return letters.select(F.col("original_key").alias("key"), value.alias("value"))

"""Records that are no facts, as the dead letters of the contract."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

VALUE_MAX_BYTES = 64 * 1024
TIME_FORMAT = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"


def dead_letters(judged: DataFrame) -> DataFrame:
    """The judged records with a reason, one dead letter each; the first 64 KiB of the value, as text or base64."""
    kept = F.substring("value", 1, VALUE_MAX_BYTES)
    is_text = F.is_valid_utf8(F.col("value").cast("string"))
    is_cut = F.octet_length("value") > VALUE_MAX_BYTES
    return judged.where(F.col("reason").isNotNull()).select(
        "reason",
        "detail",
        "topic",
        "partition",
        "offset",
        "arrived_at",
        F.col("key").alias("original_key"),
        F.make_valid_utf8(F.col("key").cast("string")).alias("key"),
        F.when(is_text, F.make_valid_utf8(kept.cast("string"))).otherwise(F.base64(kept)).alias("value"),
        F.when(~is_text, F.lit("base64")).alias("encoding"),
        F.when(is_cut, F.lit(True)).alias("truncated"),
    )


def dead_letter_records(letters: DataFrame) -> DataFrame:
    """Dead letters as Kafka records under their original key; `encoding` and `truncated` only where they apply."""
    always = ["reason", "detail", "topic", "partition", "offset", "key", "value"]
    arrived_at = F.date_format("arrived_at", TIME_FORMAT).alias("arrived_at")
    plain = F.struct(*always, arrived_at)
    marked = F.struct(*always, arrived_at, "encoding", "truncated")
    is_plain = F.col("encoding").isNull() & F.col("truncated").isNull()
    keep_nulls = {"ignoreNullFields": "false"}
    value = F.when(is_plain, F.to_json(plain, keep_nulls)).otherwise(F.to_json(marked, keep_nulls))
    return letters.select(F.col("original_key").alias("key"), value.alias("value"))

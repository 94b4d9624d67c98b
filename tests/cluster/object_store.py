"""Lake and checkpoint of the counts on an S3 API, run by hand: docs/cluster.md says with which jars.

    .venv/bin/python -m tests.cluster.object_store FOLDER_OF_JARS http://127.0.0.1:5000 BUCKET

Counts half of a history into a Delta table, restarts from the checkpoint, counts the rest, and compares with the
reference. The access key is taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

import os
import sys
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs.transforms.counts import count
from jobs.transforms.facts import facts, valid
from tests import reference
from tests.jobs.conftest import REPOSITORY, job_conf
from tests.jobs.histories import RECORD, records
from tests.rebuild.earlier_checkpoint import facts_after, facts_before

OF_LOCAL_FILES = {"spark.sql.streaming.checkpointFileManagerClass", "spark.jars", "spark.pyspark.python"}


def session(jars: Path, endpoint: str) -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    store = {
        "endpoint": endpoint,
        "endpoint.region": "us-east-1",
        "path.style.access": "true",
        "connection.ssl.enabled": str(endpoint.startswith("https")).lower(),
        "access.key": os.environ["AWS_ACCESS_KEY_ID"],
        "secret.key": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    conf = {name: value for name, value in job_conf().items() if name not in OF_LOCAL_FILES}
    conf |= {f"spark.hadoop.fs.s3a.{name}": value for name, value in store.items()}
    conf["spark.jars"] = ",".join(map(str, [*(REPOSITORY / ".jars/spark").glob("*.jar"), *jars.glob("*.jar")]))
    conf["spark.sql.shuffle.partitions"] = "2"
    builder = SparkSession.builder.master("local[2]")
    for name, value in conf.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.conf.set("spark.sql.streaming.unsupportedOperationCheck", "false")
    return spark


def run(spark: SparkSession, root: str) -> None:
    """Count what is in the source and was not counted yet."""

    def append(batch: DataFrame, _: int) -> None:
        batch.write.format("delta").mode("append").save(f"{root}/counts")

    source = spark.readStream.schema(RECORD).option("recursiveFileLookup", "true").parquet(f"{root}/source")
    counted = source.transform(facts).transform(valid).transform(count)
    query = counted.writeStream.outputMode("update").foreachBatch(append)
    query.option("checkpointLocation", f"{root}/checkpoint").trigger(availableNow=True).start().awaitTermination()


def main(jars: Path, endpoint: str, bucket: str) -> int:
    spark, root = session(jars, endpoint), f"s3a://{bucket}"
    for number, history in enumerate((facts_before(), facts_after())):
        records(spark, history, 1000 * number).coalesce(1).write.parquet(f"{root}/source/{number}")
        run(spark, root)
    plain = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
    rows = DeltaTable(f"s3://{bucket}/counts", storage_options=plain).to_pyarrow_table().to_pylist()
    newest = {row["post_id"]: row for row in sorted(rows, key=lambda row: row["version"])}
    counted = {post: (row["likes"], row["comments"]) for post, row in newest.items() if row["alive"]}
    expected = reference.posts_with_counts([*facts_before(), *facts_after()]).items()
    exact = counted == {post: (one.likes, one.comments) for post, one in expected}
    print(f"{len(rows)} rows read without Spark; {'exact' if exact else 'WRONG'}")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))

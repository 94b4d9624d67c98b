"""An audit may take hours, and the archive is tidied meanwhile."""

import json
import os
import time
from datetime import date, datetime, timezone
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from audit import offsets, sources
from conf.settings import Settings
from contract import tables
from jobs.archive import EVENTS, REPLACED
from jobs.sinks.lake import append_once, compact, ensure_table, table_path

pytestmark = pytest.mark.spark
HOUR_MS = 3_600_000


def age(table: Path, hours: int) -> None:
    """As if all that was done to the table was done so long ago."""
    for commit in (table / "_delta_log").glob("[0-9]*.json"):
        actions = [json.loads(line) for line in commit.read_text().splitlines()]
        for removed in (action["remove"] for action in actions if "remove" in action):
            removed["deletionTimestamp"] -= hours * HOUR_MS
        commit.write_text("\n".join(map(json.dumps, actions)))
    before = time.time() - hours * 3_600
    for file in [*table.rglob("*.parquet"), *table.rglob(".*.crc")]:
        if file.name.endswith(".json.crc"):
            file.unlink()  # of what the commit was
        else:
            os.utime(file, (before, before))


def files(table: Path) -> int:
    return len(list(table.rglob("part-*.parquet")))


@pytest.mark.parametrize("hours", [3, 13])
def test_files_that_an_audit_reads_stay_for_half_a_day(spark: SparkSession, tmp_path: Path, hours: int) -> None:
    settings = Settings(data_dir=tmp_path / "with a space")
    path = ensure_table(spark, table_path(settings, tables.EVENTS), EVENTS, ["arrived_date"], replaced=REPLACED)
    noon, day = datetime(2026, 11, 20, 12, tzinfo=timezone.utc), date(2026, 11, 20)
    for offset in range(3):
        row = ("likes", 0, offset, noon, b"key", b"value", day)
        append_once(spark.createDataFrame([row], EVENTS).coalesce(1), path, "events", offset)
    read = sources.archived(spark, settings, offsets.table(settings, tables.EVENTS))
    compact(spark, path)
    age(Path(path), hours)
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    compact(spark, path)
    is_kept = hours < int(REPLACED.split()[0])
    assert files(Path(path)) == (4 if is_kept else 1)
    if is_kept:
        assert sorted(row.offset for row in read.collect()) == [0, 1, 2]
    after = sources.archived(spark, settings, offsets.table(settings, tables.EVENTS))
    assert sorted(row.offset for row in after.collect()) == [0, 1, 2]

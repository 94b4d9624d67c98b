"""What a search finds beside those who write, and in tables of RocksDB.

tests/rebuild/test_forget.py says what else it sees through.
"""

import os
import sqlite3
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from runtime.scan import found_in
from runtime.sst import entries


def test_a_file_that_was_torn_off_is_told_and_the_search_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 of ada, without its end")
    (tmp_path / "b.zip").write_bytes(b"PK no more")
    (tmp_path / "c").write_text("ada")
    (tmp_path / "d.sst").write_bytes(b"no table")
    found = [(path.name, what.partition(":")[0]) for path, what in found_in(tmp_path, ["ada"])]
    torn = "cannot be unpacked"
    assert found == [("a.parquet", torn), ("a.parquet", "ada"), ("b.zip", torn), ("c", "ada"), ("d.sst", torn)]


def test_what_is_renamed_meanwhile_is_found_under_its_new_name_and_what_vanishes_is_no_error(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("it says ada")
    found = found_in(tmp_path, ["ada"])
    assert next(found) == (tmp_path / "a", "ada")
    (tmp_path / "b").rename(tmp_path / "d")
    (tmp_path / "c").unlink()
    assert list(found) == [(tmp_path / "d", "ada")]


def test_what_was_written_by_a_clock_that_is_ahead_is_searched_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("it says ada")
    os.utime(tmp_path / "a", (time.time() + 3_600,) * 2)
    assert list(found_in(tmp_path, ["ada"])) == [(tmp_path / "a", "ada")]


def view_of(path: Path, text: str) -> sqlite3.Connection:
    """A view as the feeds keep it: with a log of what was written."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute('create table "the posts" (body text, seq integer, none text)')
    db.execute('insert into "the posts" values (?, 7, null)', (text,))
    return db


LONG = " ".join(f"word-{number:07}" for number in range(2_000))
"""Of many pages, in each of which a word of it may be parted."""


def parted(path: Path) -> list[str]:
    """Words that the bytes of the file do not have."""
    raw = path.read_bytes()
    return [word for word in LONG.split() if word.encode() not in raw]


def test_a_text_of_many_pages_is_found_in_a_view_that_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "posts.sqlite"
    view_of(path, LONG).close()
    words = parted(path)
    assert words, "there is nothing to put together"
    assert {word for _, word in found_in(tmp_path, words)} == set(words)
    assert list(found_in(tmp_path, ["nobody"])) == []
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_what_a_view_that_is_in_use_has_in_its_log_only_is_found(tmp_path: Path) -> None:
    path = tmp_path / "posts.sqlite"
    with closing(view_of(path, LONG)):
        words = parted(tmp_path / "posts.sqlite-wal")
        assert words
        assert (path, words[0]) in found_in(tmp_path, [words[0]])


def test_a_view_that_is_broken_is_told_and_its_bytes_are_searched(tmp_path: Path) -> None:
    path = tmp_path / "posts.sqlite"
    view_of(path, f"ada {LONG}").close()
    whole = path.read_bytes()
    for broken in (whole[:6_000] + b"ada", b"ada, and no view"):
        path.write_bytes(broken)
        (torn, what), *found = found_in(tmp_path, ["ada"])
        assert (torn, what.partition(":")[0]) == (path, "cannot be unpacked")
        assert found == [(path, "ada")]


USERS = 3_000


def user(number: int) -> str:
    """As long as an id; all begin alike."""
    return f"user-of-the-state-store-{number:08}"


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of Spark's RocksDB, by name, after a stream has counted users."""
    folder = tmp_path_factory.mktemp("counted")
    session = spark.newSession()
    session.conf.set("spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled", "false")
    session.range(USERS, numPartitions=1).selectExpr(
        "format_string('user-of-the-state-store-%08d', id) as who"
    ).write.parquet(f"{folder}/users")
    counted = session.readStream.schema("who string").parquet(f"{folder}/users").groupBy("who").count()
    writer = counted.writeStream.format("noop").outputMode("update").option("checkpointLocation", f"{folder}/counts")
    writer.trigger(availableNow=True).start().awaitTermination()
    return {path.name: path.read_bytes() for path in (folder / "counts").rglob("*.sst")}


@pytest.mark.spark
def test_every_key_of_a_table_is_read_whole(tables: dict[str, bytes]) -> None:
    rows = [row for table in tables.values() for row in entries(table)]
    keys = b"|".join(key for key, _ in rows)
    assert [number for number in range(USERS) if user(number).encode() not in keys] == []
    assert len(rows) == USERS
    assert all(any(value) for _, value in rows), "each has a count"


@pytest.mark.spark
@pytest.mark.parametrize("packed", [False, True], ids=["alone", "in a zip"])
def test_a_word_that_only_a_table_has_is_found(tables: dict[str, bytes], packed: bool, tmp_path: Path) -> None:
    words = [user(number) for number in (1, USERS // 2, USERS - 1)]
    plain = b"".join(tables.values())
    assert any(word.encode() not in plain for word in words), "there is nothing to unpack"
    for name, table in tables.items():
        if packed:
            with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(name, table)
        else:
            (tmp_path / name).write_bytes(table)
    assert {word for _, word in found_in(tmp_path, words)} == set(words)
    assert list(found_in(tmp_path, ["nobody-of-the-state-store"])) == []


@pytest.mark.spark
def test_a_table_that_is_cut_or_broken_says_so(tables: dict[str, bytes]) -> None:
    table = max(tables.values(), key=len)
    for broken in (table[:-1], table[1_000:], table[:-60] + table[-53:], b""):
        with pytest.raises(ValueError, match=r"RocksDB|damaged|entries can be read"):
            list(entries(broken))

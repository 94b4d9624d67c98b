"""What the broker acknowledged is written down, and looked for."""

import zlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from kafka import TopicPartition

from conf.settings import Settings
from jobs.offsets import consumer_of
from producers.publisher import Record
from producers.receipts import Receipt, Receipts, lost, read
from producers.simulator.__main__ import run
from runtime.admin import admin_client

FACTS = 200


@pytest.mark.kafka
def test_each_acknowledged_record_is_where_the_broker_said_and_is_missed_where_it_is_not(
    kafka: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "receipts"
    for seed in (1, 2):  # as after a restart: the file goes on
        with Receipts(path) as kept:
            run(kafka, rate=0, facts=FACTS, seed=seed, tell=kept.keep)
    receipts = read(path)
    assert len(receipts) >= 2 * FACTS
    assert lost(receipts, consumer_of(kafka)) == set()

    changed = min(receipts)
    other = changed._replace(crc=changed.crc ^ 1)
    never = Receipt(changed.topic, changed.partition, 1_000_000, 0)
    assert lost({*receipts, other, never}, consumer_of(kafka)) == {other, never}

    likes = {one for one in receipts if (one.topic, one.partition) == ("likes", 0)}
    gone = {one for one in likes if one.offset < max(likes).offset // 2}
    with closing(admin_client(kafka)) as admin:
        admin.delete_records({TopicPartition("likes", 0): max(likes).offset // 2})
    assert lost(receipts, consumer_of(kafka)) == gone != set()


def test_a_line_that_was_not_finished_is_no_receipt(tmp_path: Path) -> None:
    path = tmp_path / "receipts"
    path.write_text("likes 0 7 42\nlikes 0 8 4")
    assert read(path) == {Receipt("likes", 0, 7, 42)}


def test_after_a_line_that_was_not_finished_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "receipts"
    path.write_text("likes 0 7 42\nlikes 0 8 4")
    stored = SimpleNamespace(partition=0, offset=9, timestamp=0)
    with Receipts(path) as kept:
        kept.keep(Record("likes", None, b"value"), stored)
    assert read(path) == {Receipt("likes", 0, 7, 42), Receipt("likes", 0, 9, zlib.crc32(b"value"))}


def test_two_lines_that_ran_together_are_no_receipts(tmp_path: Path) -> None:
    path = tmp_path / "receipts"
    path.write_text("likes 0 7 42\nlikes 0 8 4likes 0 9 42\nlikes 1 7 42\n")
    assert read(path) == {Receipt("likes", 0, 7, 42), Receipt("likes", 1, 7, 42)}

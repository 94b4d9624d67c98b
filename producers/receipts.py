"""What the broker acknowledged, written down; and whether Kafka still has it."""

import os
import re
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, cast

from kafka import KafkaConsumer, TopicPartition

from conf.kafka import records_of
from producers.publisher import Record, Stored

_LINE = re.compile(r"^(\S+) (\d+) (\d+) (\d+)\n", re.MULTILINE)


class Receipt(NamedTuple):
    """Where a record is, and the CRC-32 of its value, or of another part of it."""

    topic: str
    partition: int
    offset: int
    crc: int


Part = Callable[[Any], bytes | None]
"""What of a record is compared."""


def value_of(record: Any) -> bytes | None:
    """Of a record as a consumer has it."""
    return cast("bytes | None", record.value)


class Receipts:
    """A file with a line for each record that was acknowledged, in a context manager; a file that is there goes on."""

    def __init__(self, path: Path) -> None:
        if path.exists():  # a power cut or a full disk may have torn its last line, and the next would stand behind it
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        self._file = path.open("a", buffering=1)  # a line at a time, so that a kill leaves whole ones

    def keep(self, record: Record, stored: Stored) -> None:
        receipt = Receipt(record.topic, stored.partition, stored.offset, zlib.crc32(record.value))
        self._file.write(" ".join(map(str, receipt)) + "\n")

    def __enter__(self) -> "Receipts":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read(path: Path) -> set[Receipt]:
    """Those of a file, but for lines that were not finished."""
    found = _LINE.findall(path.read_text())
    return {Receipt(topic, int(partition), int(offset), int(crc)) for topic, partition, offset, crc in found}


def lost(receipts: set[Receipt], consumer: KafkaConsumer, part: Part = value_of) -> set[Receipt]:
    """Those that Kafka has no more, or something else in their place; closes the consumer."""
    places = [TopicPartition(*place) for place in {(one.topic, one.partition) for one in receipts}]
    with closing(consumer):
        left = set(receipts)
        for one in records_of(consumer, places):
            left.discard(Receipt(one.topic, one.partition, one.offset, zlib.crc32(part(one) or b"")))
        return left

"""How far everything is: what jobs have counted and kept, what tables and topics hold."""

import json
import time

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from conf.settings import Settings
from conf.store import Place, delta_options, lake
from jobs.checkpoints import committed_offsets, offsets_in
from jobs.offsets import beginnings, ends

Offsets = dict[str, dict[int, int]]
"""{topic: {partition: next offset}}: everything below these."""


class CannotAuditError(RuntimeError):
    """Nothing can be said about drift; the message names what is missing, and the fix."""


def of_batch(checkpoint: Place, batch_id: int) -> Offsets:
    """Where this batch of the query ends in Kafka, from the query's own log."""
    return _by_number(offsets_in((checkpoint / "offsets" / str(batch_id)).read_text()))


def _by_number(found: dict[str, dict[str, int]]) -> Offsets:
    return {topic: {int(part): offset for part, offset in parts.items()} for topic, parts in found.items()}


def committed(checkpoint: Place) -> Offsets:
    """What the query is done with: each of these records is in what it writes."""
    for _ in range(3):  # the log is trimmed while one looks
        try:
            return _by_number(committed_offsets(checkpoint))
        except FileNotFoundError:
            time.sleep(0.1)
    raise CannotAuditError(f"the offsets of {checkpoint} cannot be read: make doctor looks at it")


def table(settings: Settings, name: str) -> DeltaTable:
    """The newest version of a table of the lake."""
    path = lake(settings) / name
    try:
        return DeltaTable(str(path), storage_options=delta_options(settings))
    except TableNotFoundError:
        raise CannotAuditError(f"there is no table {path}: start the jobs (make up), or set MSM_DATA_DIR") from None


def held(found: DeltaTable, checkpoint: Place, writer: str) -> Offsets:
    """What this version of the table holds: Delta keeps the batch that wrote it last, the checkpoint its offsets."""
    try:
        query = json.loads((checkpoint / "metadata").read_text())["id"]
    except FileNotFoundError:
        raise CannotAuditError(f"there is no checkpoint {checkpoint}: start the jobs (make up)") from None
    batch_id = found.transaction_version(f"{writer}-{query}")
    return {} if batch_id is None else of_batch(checkpoint, batch_id)


def in_kafka(settings: Settings, *topics: str) -> tuple[Offsets, Offsets]:
    """First and next offset of every partition of these topics, now."""
    first, following = (_by_number(found) for found in (beginnings(settings, topics), ends(settings, topics)))
    for topic in topics:
        if topic not in following:
            raise CannotAuditError(f"Kafka has no topic {topic}: msm topics makes it")
    return first, following


def furthest(*many: Offsets) -> Offsets:
    """The highest offset of each partition."""
    merged: Offsets = {}
    for offsets in many:
        for topic, parts in offsets.items():
            mine = merged.setdefault(topic, {})
            mine.update({part: max(offset, mine.get(part, 0)) for part, offset in parts.items()})
    return merged


def rows(offsets: Offsets) -> list[tuple[str, int, int]]:
    """(topic, partition, next offset), for a frame."""
    return [(topic, part, offset) for topic, parts in offsets.items() for part, offset in parts.items()]

"""How far everything is: what jobs have counted and kept, what tables and topics hold."""

import json
import time

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from conf.settings import Settings
from conf.store import Place, delta_options, lake
from jobs.checkpoints import committed_offsets, offsets_of_batch
from jobs.offsets import Offsets, beginnings, ends, rows


class CannotAuditError(RuntimeError):
    """Nothing can be said about drift; the message names what is missing, and the fix."""


def committed(checkpoint: Place) -> Offsets:
    """What the query is done with: each of these records is in what it writes."""
    for _ in range(3):  # the log is trimmed while one looks
        try:
            return committed_offsets(checkpoint)
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
    return {} if batch_id is None else offsets_of_batch(checkpoint, batch_id)


def in_kafka(settings: Settings, *topics: str) -> tuple[Offsets, Offsets]:
    """First and next offset of every partition of these topics, now."""
    first, following = beginnings(settings, topics), ends(settings, topics)
    for topic in topics:
        if topic not in following:
            raise CannotAuditError(f"Kafka has no topic {topic}: msm topics makes it")
    return first, following


def furthest(*many: Offsets) -> Offsets:
    """The highest offset of each partition."""
    merged: Offsets = {}
    for offsets in many:
        for topic, part, offset in rows(offsets):
            mine = merged.setdefault(topic, {})
            mine[part] = max(offset, mine.get(part, 0))
    return merged

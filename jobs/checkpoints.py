"""A checkpoint and what it was made for: its shape, and the term of what it publishes.

Spark fails with an obscure schema error, in the first batch, where state has another shape, and silently keeps the old
number of partitions. So a job looks first.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from conf.store import Place, read_whole, write_whole
from jobs.offsets import Offsets, parsed, rows

RULES = 1
"""Raise it where the same facts count otherwise than before, though state looks the same."""
SEED = "seed"
"""File in a checkpoint: the name of the folder with facts beyond Kafka's retention, which the query reads too.

The folder itself never moves, and stays as long as the checkpoint: Spark remembers it by its path."""
MADE = "made.json"
TOPICS = "topics.json"
"""File in a checkpoint: {topic: id} of the topics whose offsets it knows."""
START = "start.json"

PROJECTED = "posts_with_counts_lake"
"""The query that reads the counts, as all others read facts."""
STATES: dict[str, dict[str, str]] = {
    "posts_with_counts": {"posts_with_counts": "e23db60b"},
    "trending_posts": {"trending_posts": "fc073939", "first_hour_engagement": "922f8388"},
    "archive": {"events": "none", PROJECTED: "none"},
}
"""Of each job and query the digest of its state's schemas; tests/rebuild/test_interrupted_batches.py has them anew."""


@dataclass(frozen=True)
class Shape:
    """What must be the same for a query to go on from a checkpoint."""

    state: str
    partitions: int
    rules: int

    def __str__(self) -> str:
        return f"state {self.state}, {self.partitions} partitions, rules {self.rules}"


STATELESS = Shape("none", 0, 0)
"""Of what keeps every record and counts nothing: it goes on whatever changes."""

FIX = (
    "{rescale}rebuild beside it with make backfill (rankings: make backfill ARGS=--trending), then make backfill "
    "ARGS=switch, or go back to what it was made with"
)
FIX_DAMAGE = (
    "put back the files from a copy of the same moment as its tables, or start over with a new checkpoint "
    "(docs/operations.md)"
)
FIX_STORE = "start over with new checkpoints (docs/operations.md), or go back to what it was made with"
"""Neither a rebuild nor `msm rescale` knows a bucket."""
FIX_BESIDE = (
    "go on with the version of the code that made it, or, if it is not wanted any more, remove it with "
    "make backfill ARGS=drop and build anew"
)


def refuse_other_shapes(folder: Place, job: str, partitions: int, fix: str = FIX) -> None:
    """SystemExit with one sentence where a checkpoint of the job is of another shape than its code, or damaged."""
    for query, state in STATES[job].items():
        try:
            if number := left_by_rescale(folder / query):
                raise SystemExit(f"msm rescale {number} was interrupted within {folder / query}: run it again")
            there = shape_of(folder / query)
        except (FileNotFoundError, LookupError, ValueError):  # a log of offsets that was cut, or is not there
            raise SystemExit(f"the checkpoint {folder / query} is damaged: {FIX_DAMAGE}") from None
        here = Shape(state, partitions, RULES) if state != "none" else STATELESS
        if there is not None and there != here:
            only_partitions = replace(there, partitions=here.partitions) == here
            rescale = f"msm rescale {here.partitions} while no job runs, or " if only_partitions else ""
            raise SystemExit(
                f"the checkpoint {folder / query} is of another shape ({there}) than this code and these settings "
                f"({here}): {fix.format(rescale=rescale)}"
            )


def shape_of(checkpoint: Place) -> Shape | None:
    """The shape of what a checkpoint holds; None where no batch was done from it."""
    if done_batch(checkpoint) < 0:
        return None
    state = state_digest(checkpoint)
    if state == "none":
        return STATELESS
    return Shape(state, _partitions(checkpoint, begun_batch(checkpoint)), made(checkpoint).get("rules", 1))


def left_by_rescale(checkpoint: Place) -> int:
    """How many partitions a rescaling that was interrupted was to make; 0 where there was none.

    It is a batch of its own. Spark goes on with it when asked for the same number, and until then starts no query.
    """
    begun, done = begun_batch(checkpoint), done_batch(checkpoint)
    if done in (-1, begun):
        return 0
    wanted = _partitions(checkpoint, begun)
    return wanted if wanted != _partitions(checkpoint, done) else 0


def state_digest(checkpoint: Place) -> str:
    """Of the names and types in the schemas of keys and values, which are the same for each partition.

    Whether a column may be null is said differently by versions of Spark that go on from each other's state. Of a join
    that was killed within a batch Spark writes the same schema again, named for that batch: it counts once.
    """
    operators = sorted((checkpoint / "state").glob("[0-9]*"), key=lambda folder: int(folder.name))
    said = [b"".join(dict.fromkeys(map(_names_and_types, _schemas(operator)))) for operator in operators]
    return hashlib.sha256(b"|".join(said)).hexdigest()[:8] if said else "none"


def _names_and_types(schema: Place) -> bytes:
    return b"".join(re.findall(rb'"(?:name|type|elementType|keyType|valueType)":"[^"]*"', schema.read_bytes()))


def _schemas(operator: Place) -> list[Place]:
    """Aggregates have a file for each partition, all the same; joins have one for all, named for a batch."""
    of_join = (path for path in (operator / "_stateSchema").rglob("[0-9]*") if path.is_file())
    return [*sorted((operator / "0").glob("**/_metadata/schema")), *sorted(of_join)]


def _partitions(checkpoint: Place, batch: int) -> int:
    return int(json.loads(_lines(checkpoint / "offsets", batch)[1])["conf"]["spark.sql.shuffle.partitions"])


def made(checkpoint: Place) -> dict[str, int]:
    """What was written down when it was made: "rules", and "term" for the counts; empty where nothing was."""
    return read_whole(checkpoint / MADE)


def sign(checkpoint: Place, term: int) -> None:
    """Write down by which rules a checkpoint counts, and under which term it publishes."""
    write_whole(checkpoint / MADE, {"rules": RULES, "term": term})


def sign_new(folder: Place, job: str) -> None:
    """Write down by which rules the job goes on, in each of its checkpoints that has no batch yet."""
    for checkpoint in (folder / query for query in STATES[job]):
        if done_batch(checkpoint) < 0:
            write_whole(checkpoint / MADE, {**made(checkpoint), "rules": RULES})


def refuse_other_topics(checkpoint: Place, ids: dict[str, str], ends: Offsets) -> None:
    """SystemExit where a topic has another id than the one whose offsets the checkpoint knows, or ends before these.

    Spark goes on from the old offsets: of a topic that has grown beyond them it would leave out what is below. Ids of
    new topics are noted.
    """
    path = checkpoint / TOPICS
    known = read_whole(path) if done_batch(checkpoint) >= 0 else {}
    for topic in known.keys() & ids.keys():
        if known[topic] != ids[topic]:
            raise SystemExit(
                f"{checkpoint} has read another topic {topic} than this one: look whether MSM_KAFKA_BOOTSTRAP, "
                "MSM_KAFKA_PORT and MSM_DATA_DIR belong together. If it was deleted and made again, its offsets mean "
                "nothing there: see 'another topic' in docs/operations.md"
            )
    try:
        has_read = committed_offsets(checkpoint)
    except (FileNotFoundError, ValueError):
        raise SystemExit(f"the checkpoint {checkpoint} is damaged: {FIX_DAMAGE}") from None
    for topic, number, done in rows(has_read):
        end = ends.get(topic, {}).get(number, done)
        if end < done:
            raise SystemExit(
                f"{checkpoint} has read {topic}, partition {number}, up to {done:,}, which ends at {end:,}: an older "
                "copy was put back, or its end is lost; see 'another topic' in docs/operations.md"
            )
    if ids.keys() - known.keys():
        write_whole(path, {**ids, **known})


def seed_name(checkpoint: Place) -> str:
    """The folder of its seed; empty where it has none."""
    try:
        return (checkpoint / SEED).read_text()
    except FileNotFoundError:
        return ""


def remove_unused_seeds(seeds: Path, checkpoints: Iterable[Place]) -> None:
    """Seeds that no checkpoint reads."""
    used = {seed_name(checkpoint) for checkpoint in checkpoints}
    for folder in seeds.glob("*"):
        if folder.name not in used:
            shutil.rmtree(folder)


def committed_offsets(checkpoint: Place) -> Offsets:
    """Where the last batch that was done ends in Kafka; empty before the first."""
    done = done_batch(checkpoint)
    return {} if done < 0 else offsets_of_batch(checkpoint, done)


def seen_offsets(checkpoint: Place) -> Offsets:
    """The same for whoever looks on; empty also where it is just being written, or torn."""
    try:
        return committed_offsets(checkpoint)
    except (OSError, ValueError, IndexError):
        return {}


def offsets_of_batch(checkpoint: Place, batch_id: int) -> Offsets:
    """Where this batch, which has begun, ends in Kafka."""
    offsets: Offsets = {}
    for line in _lines(checkpoint / "offsets", batch_id)[2:]:  # after a version and settings, one for each source
        source = json.loads(line) if line.startswith("{") else {}
        offsets |= parsed({topic: parts for topic, parts in source.items() if isinstance(parts, dict)})
    return offsets


def committed_at(checkpoint: Place) -> datetime:
    """When the last batch that was done began, by the clock of then; 1970 before the first."""
    return _moment(checkpoint, "offsets", "batchTimestampMs")


def committed_watermark(checkpoint: Place) -> datetime:
    """The event-time watermark of the last batch that was done; 1970 before the first."""
    return _moment(checkpoint, "offsets", "batchWatermarkMs")


def next_watermark(checkpoint: Place) -> datetime:
    """The event-time watermark that the next batch will go by; 1970 before the first."""
    return _moment(checkpoint, "commits", "nextBatchWatermarkMs")


def _moment(checkpoint: Place, log: str, name: str) -> datetime:
    done = done_batch(checkpoint)
    said = {} if done < 0 else json.loads(_lines(checkpoint / log, done)[1])
    return datetime.fromtimestamp(said.get(name, 0) / 1_000, timezone.utc)


def _lines(log: Place, batch: int) -> list[str]:
    return (log / str(batch)).read_text().splitlines()


def begun_batch(checkpoint: Place) -> int:
    """The number of the newest batch that has begun; -1 before the first."""
    return newest_in(checkpoint / "offsets")


def done_batch(checkpoint: Place) -> int:
    """The number of the last batch that was done; -1 before the first."""
    return newest_in(checkpoint / "commits")


def newest_in(log: Place) -> int:
    """The newest batch that a log of a checkpoint knows; -1 where there is none."""
    return max((int(path.name) for path in log.glob("[0-9]*") if path.name.isdigit()), default=-1)


def pinned_start(folder: Place, topics: str) -> str:
    """Where a new checkpoint begins to read: where `msm backfill` says, else at the earliest record."""
    starts = read_whole(folder / START)
    return json.dumps(starts[topics]) if topics in starts else "earliest"

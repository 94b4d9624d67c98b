"""What a fact takes on disk, measured on the data dir of a stack that has counted and archived some and is down.

.venv/bin/python -m deploy.sizes
"""

from pathlib import Path

from conf.settings import Settings, load_settings
from contract.facts import FACT_TOPICS
from contract.tables import EVENTS
from contract.topics import POSTS_WITH_COUNTS
from jobs.checkpoints import committed_offsets
from jobs.offsets import total
from runtime.rescale import contents
from runtime.spark import batch_session


def sizes(settings: Settings) -> dict[str, float]:
    """Bytes a fact in log and lake, without replicas; pairs a fact, and what a pair takes in the checkpoint."""
    checkpoint = settings.checkpoint_dir / POSTS_WITH_COUNTS
    facts = total(committed_offsets(checkpoint))
    logs = sum(used(path) for topic in FACT_TOPICS for path in (settings.kafka_dir / "log").glob(f"{topic}-[0-9]*"))
    with batch_session(settings) as spark:
        # The store with most rows has one for each pair; the others follow from it.
        pairs = max(rows for rows, _ in contents(spark, checkpoint).values())
    return {
        "log.bytes": logs / facts,
        "lake.bytes": used(settings.lake_dir / EVENTS) / facts,
        "pairs": pairs / facts,
        "state.bytes": used(checkpoint / "state") / pairs,
    }


def used(folder: Path) -> int:
    """Bytes of the files below, without the room that Kafka's indexes keep for later."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix not in INDEXES)


INDEXES = (".index", ".timeindex")

if __name__ == "__main__":
    for name, value in sizes(load_settings()).items():
        print(f"{name:12} {value:,.2f}")

"""Erasure: takes a user out of everything, in steps that can all be done again; docs/decisions/erasure.md."""

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from kafka.admin import ConfigResource, ConfigResourceType
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console

from conf.settings import Settings
from conf.store import checkpoints, media, refuse_store, write_whole
from contract.facts import FACT_TOPICS, FUTURE_TOLERANCE_SECONDS, parse_time
from contract.topics import DEAD_LETTERS, POSTS_WITH_COUNTS, RESULT_TOPICS, TRENDING_POSTS
from jobs import erasure
from jobs.checkpoints import PROJECTED, STATES, committed_offsets, done_batch, remove_unused_seeds, sign
from jobs.generations import next_term, seed
from jobs.offsets import Offsets, beginnings, ends, lacking, reached, total
from jobs.running import FORGET, FORGETTING, refuse_unfinished_forget, taken
from jobs.submit import scratch
from producers.bulk import BulkWriter
from producers.pictures import NAME
from producers.publisher import Publisher, Record, Stored
from runtime import beside
from runtime.admin import admin_client
from runtime.children import (
    a_broker,
    alone,
    caught_up,
    held,
    ranked_from_now,
    running_jobs,
)
from runtime.parts import JOBS
from runtime.processes import wait_until, wait_while_it_moves
from runtime.renewal import delete_before, new_files, sweep_seconds, wait_until_swept
from runtime.spark import batch_session
from runtime.stack import LOOK_SECONDS, READY_SECONDS

RunJobs = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Removed:
    """What was taken out of a place, and until when something stays there."""

    place: str
    what: str
    until: str = ""


def forget(settings: Settings, user: str, with_facts: bool, console: Console) -> list[Removed]:
    """Take the user out of counts, results, tables, pictures and views; with `with_facts` out of Kafka's facts too."""
    if with_facts:
        refuse_store(settings, "msm forget --facts", "forget without --facts, and retention does the rest")
    with alone(settings, "the user"):
        refuse_unfinished_forget(settings.data_dir, user if with_facts else "")
        with a_broker(settings), batch_session(settings) as spark:
            beside.sweep(settings)
            return erase(
                spark, settings, user, with_facts, partial(let_jobs_read, settings, user, console.print), console.print
            )


def erase(
    spark: SparkSession, settings: Settings, user: str, with_facts: bool, run: RunJobs, say: Callable[[str], None]
) -> list[Removed]:
    """The erasure itself, with a broker; `run` lets jobs read every fact and ends them."""
    known = erasure.relevant_facts(spark, settings, user).persist()
    posts, pictures = erasure.posts_of(known, user).localCheckpoint(), erasure.pictures_of(known, user)
    had_facts = erasure.has_facts(known, user)
    say("taking back what stands, and letting the jobs count it")
    number = _publish(known, settings, user)
    known.unpersist()
    kept_from = beginnings(settings, FACT_TOPICS)
    seconds = 0.0 if settings.embedded_kafka or not with_facts else sweep_seconds(settings)
    mark = settings.data_dir / FORGET
    if with_facts:  # from here on it can only be finished
        write_whole(mark, {"user": user})
    old = _copy_facts(spark, settings, user) if with_facts else {}
    # With the facts goes the state of the rankings, so it need not read them first.
    run((POSTS_WITH_COUNTS, "archive") if with_facts else JOBS)
    if with_facts:  # only now the archive has written the letters of all that was there
        old = {**old, **_copy_letters(spark, settings, user)}
    say("rewriting the lake")
    done = [Removed("facts that take back", f"{number:,} appended")]
    with held(settings, JOBS):  # somebody may have started some, which would lose what they just write
        done += [Removed("pictures", f"{_remove_pictures(settings, pictures)} files"), _remove_views(settings)]
        done += [_remove_left_over(settings), _remove_read_seeds(settings)]
        rows = erasure.rewrite_lake(spark, settings, user, posts, (kept_from, old) if with_facts else None)
    done += [Removed(f"table {table}", f"{count:,} rows") for table, count in rows.items()]
    if not with_facts:
        return done + what_remains(settings, had_facts)
    say("deleting the facts, and counting anew from those that stay")
    delete_before(settings, old)
    done += _remake(spark, settings, kept_from, old, run, seconds, say)
    mark.unlink()
    return done


def _publish(known: DataFrame, settings: Settings, user: str) -> int:
    """How many facts take back what stands; SystemExit where one of them does not count."""
    with closing(Publisher(settings)) as publisher, BulkWriter(publisher, tell=_refuse_dead) as writer:
        publisher.wait_until_ready(60)
        for fact in erasure.take_back(known, user, datetime.now(timezone.utc)):
            writer.write(Record.of(fact))
    return writer.acknowledged


def _refuse_dead(record: Record, stored: Stored) -> None:
    dated = parse_time(json.loads(record.value)["occurred_at"]).timestamp()
    too_early = dated - FUTURE_TOLERANCE_SECONDS - stored.timestamp / 1_000
    if too_early > 0:
        raise SystemExit(
            "nothing is erased yet: what takes something back would not count, since by the Kafka broker's clock it is "
            f"from the future: set right the clock that is wrong, or try again in {math.ceil(too_early)} s"
        )


def _copy_facts(spark: SparkSession, settings: Settings, user: str) -> Offsets:
    """What stays, once more behind the present end; where that end was."""
    with new_files(settings, FACT_TOPICS):
        old = ends(settings, FACT_TOPICS)
        for topic in FACT_TOPICS:
            erasure.copy_what_stays(spark, settings, topic, user)
    return old


def _copy_letters(spark: SparkSession, settings: Settings, user: str) -> Offsets:
    """The same for dead letters."""
    with new_files(settings, [DEAD_LETTERS]):
        old = ends(settings, [DEAD_LETTERS])
        erasure.copy_letters(spark, settings, user)
    return old


def let_jobs_read(settings: Settings, user: str, say: Callable[[str], None], jobs: Sequence[str]) -> None:
    """Run the jobs until they have read every fact, the lake every result, and what was read is ranked.

    TimeoutError where they get no further.
    """
    goal = ends(settings, FACT_TOPICS)
    queries = [query for job in jobs for query in STATES[job]]
    of_facts = [query for query in queries if query != PROJECTED]
    with running_jobs(settings, jobs, {FORGETTING: user}) as processes:

        def all_read() -> bool:
            if not caught_up(settings, processes):
                return False
            if not all(reached(committed_offsets(checkpoints(settings) / query), goal) for query in of_facts):
                return False
            results = ends(settings, [POSTS_WITH_COUNTS])
            return reached(committed_offsets(checkpoints(settings) / PROJECTED), results)

        behind = f"the jobs get no further for {READY_SECONDS:.0f} s: see {settings.log_dir}"
        moved = _tells_what_moved(settings, queries, goal, say)
        wait_while_it_moves(all_read, moved, LOOK_SECONDS, READY_SECONDS, lambda: behind)
        if TRENDING_POSTS in jobs:
            is_ranked = ranked_from_now(settings)
            wait_until(lambda: caught_up(settings, processes) and is_ranked(), READY_SECONDS, lambda: behind)


def _tells_what_moved(
    settings: Settings, queries: Sequence[str], goal: Offsets, say: Callable[[str], None]
) -> Callable[[], bool]:
    """Whether a query has read more since it was asked before; those that read facts are told with what is left."""
    before = dict[str, int]()

    def moved() -> bool:
        there = {query: committed_offsets(checkpoints(settings) / query) for query in queries}
        now = {query: total(offsets) for query, offsets in there.items()}
        if POSTS_WITH_COUNTS in now:  # it may read a seed, too
            now[POSTS_WITH_COUNTS] += done_batch(checkpoints(settings) / POSTS_WITH_COUNTS)
        nearer = [query for query in queries if now[query] != before.get(query)]
        before.update(now)
        left = {query: lacking(there[query], goal) for query in nearer if query != PROJECTED and there[query]}
        if left:
            say("; ".join(f"{query}: {number:,} records behind" for query, number in left.items()))
        return bool(nearer)

    return moved


def _remove_pictures(settings: Settings, names: Sequence[str]) -> int:
    files = [media(settings) / name for name in names if NAME.fullmatch(name)]
    there = [file for file in files if file.is_file()]
    for file in there:
        file.unlink()
    return len(there)


def _remove_views(settings: Settings) -> Removed:
    """Views are made again from the topics; one that is in use forgets by the tombstones."""
    removed = 0
    for store in sorted(settings.feeds_dir.glob("*.sqlite")):
        with store.with_suffix(".lock").open("w") as lock:
            if taken(lock):
                for file in settings.feeds_dir.glob(f"{store.name}*"):
                    file.unlink()
                removed += 1
    return Removed("views of the feeds", f"{removed} removed; made again at the next start")


def _remove_left_over(settings: Settings) -> Removed:
    """Facts that killed jobs and audits have left, and the newest audit's report, which may quote some."""
    folders = [settings.data_dir / "audit", *(scratch(settings, job) for job in JOBS)]
    there = [folder for folder in folders if folder.exists()]
    for folder in there:
        shutil.rmtree(folder)
    return Removed("working folders of jobs and audits", f"{len(there)} removed")


def _remove_read_seeds(settings: Settings) -> Removed:
    """What jobs took from the archive is in their state by now; they look into the folders once more, not for files."""
    files = list(settings.seeds_dir.glob("*/*.parquet"))
    for file in files:
        file.unlink()
    return Removed("seeds of rebuilt counts", f"{len(files)} files")


def _remake(
    spark: SparkSession,
    settings: Settings,
    kept_from: Offsets,
    old: Offsets,
    run: RunJobs,
    seconds: float,
    say: Callable[[str], None],
) -> list[Removed]:
    """All state that may hold the user is thrown away, and made again from the facts that stay."""
    term = next_term(spark, [settings])
    with new_files(settings, RESULT_TOPICS):
        old_results = ends(settings, RESULT_TOPICS)
        for query in (*STATES[POSTS_WITH_COUNTS], *STATES[TRENDING_POSTS]):
            _remove_whole(settings.checkpoint_dir / query)
        for table in erasure.BY_POST:
            shutil.rmtree(settings.lake_dir / table, ignore_errors=True)
        remove_unused_seeds(settings.seeds_dir, [])
        sign(settings.checkpoint_dir / POSTS_WITH_COUNTS, term)
        seed(spark, settings, kept_from, settings.checkpoint_dir / POSTS_WITH_COUNTS)
        run(JOBS)
        delete_before(settings, old_results)
        swept = _swept(settings, {**old, **old_results}, seconds, say)
    return [Removed("state of the jobs", "made anew"), swept]


def _remove_whole(folder: Path) -> None:
    """Remove a checkpoint, all of it or nothing: of a half one no job would start."""
    aside = folder.with_name(f"{folder.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
        shutil.rmtree(aside)


def _swept(settings: Settings, old: Offsets, seconds: float, say: Callable[[str], None]) -> Removed:
    what = "records before the erasure"
    if settings.embedded_kafka:
        kept = ", ".join(wait_until_swept(settings, old))
        return Removed(
            "topics", what, f"nothing or something newer is in the old file, out of reach: {kept}" if kept else ""
        )
    say(f"waiting {seconds:.0f} seconds, in which the brokers remove the old files")
    time.sleep(seconds)
    return Removed("topics", what, "out of reach; partitions without a newer record keep their file until they get one")


def what_remains(settings: Settings, had_facts: bool) -> list[Removed]:
    """Where the user stays without `--facts`, and until when; nowhere where there never was a fact."""
    if not had_facts:
        return []
    kept = _retention(settings)
    # What takes back is the user's newest fact, and it is of now.
    until = f"{datetime.now(timezone.utc) + kept:%Y-%m-%d}" if kept else "for ever"
    return [
        Removed("facts in Kafka, state of the rankings", "nothing", f"{until} (retention); --facts removes it now"),
        Removed("state of the counts", "nothing", "for ever: ids, and captions of posts; --facts removes them now"),
        Removed("result topics", "tombstones", "compaction, some hours after the next writes; --facts removes it now"),
        Removed("dead letters that name the user", "nothing", f"{until} (retention); --facts removes it now"),
    ]


def _retention(settings: Settings) -> timedelta | None:
    """The longest retention of the fact topics; None for ever."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in FACT_TOPICS]
    with closing(admin_client(settings)) as admin:
        said = admin.describe_configs(resources)["topic"]
    kept = [int(said[topic]["retention.ms"]["value"]) for topic in FACT_TOPICS]
    return None if -1 in kept else timedelta(milliseconds=max(kept))

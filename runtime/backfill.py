"""Rebuild beside the running one, compare, switch over, roll back: docs/decisions/rebuild-beside.md says why so."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from rich.console import Console
from rich.progress import Progress

from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import POSTS_WITH_COUNTS, TRENDING_POSTS
from jobs.checkpoints import START, STATES, committed_offsets, remove_unused_seeds, sign
from jobs.generations import (
    STAGED,
    Comparison,
    both_tellings,
    differing_minutes,
    exchange,
    judge,
    keep_archived_posts,
    next_term,
    pin,
    seed,
    stage,
    staged,
)
from jobs.offsets import beginnings, ends, reached, since, total
from jobs.running import refuse_unfinished_switch
from jobs.transforms.generations import (
    MISSING,
    MOVING,
    NEW,
    UNSETTLED,
    remember_seen,
    settled,
    stuck_differ,
)
from runtime import beside as there
from runtime.children import a_broker, caught_up, held, only_command, running_jobs
from runtime.parts import runs
from runtime.processes import Process, wait_until
from runtime.spark import batch_session

JUDGED = timedelta(hours=3)
"""Likes and comments that arrived since: all that a ranking of now can be judged by, and an hour more."""
ROUNDS, PAUSE = 6, 2.0
"""How often posts are looked at again that other facts went into on the one side than on the other."""
DRAIN_SECONDS = 300
REBUILT, BEFORE = "rebuilt", "before"


def build(settings: Settings, with_trending: bool, console: Console) -> Comparison:
    """Count everything anew beside the live jobs, until caught up; then compare."""
    with only_command(settings):
        return _build(settings, (POSTS_WITH_COUNTS, TRENDING_POSTS) if with_trending else (POSTS_WITH_COUNTS,), console)


def _build(settings: Settings, jobs: Sequence[str], console: Console) -> Comparison:
    if there.role(settings) == BEFORE:
        raise SystemExit(
            f"{settings.beside_dir} keeps what was switched off, for a roll back: "
            "make backfill ARGS=drop removes it, then build anew"
        )
    if there.role(settings) and there.jobs(settings) != list(jobs):
        raise SystemExit(f"{' and '.join(there.jobs(settings))} stand beside already: make backfill ARGS=drop first")
    with a_broker(settings), batch_session(settings) as spark:
        there.sweep(settings)
        prepare(spark, settings, jobs, console)
        with running_jobs(there.beside(settings), jobs) as processes:
            _follow(settings, processes, console)
            return compare(spark, settings)


def prepare(spark: SparkSession, settings: Settings, jobs: Sequence[str], console: Console) -> None:
    """Topics, and where reading begins; a build that was interrupted goes on where it was."""
    new = there.beside(settings)
    there.take_role(settings, REBUILT, jobs)
    there.make_topics(settings)
    if (new.checkpoint_dir / START).exists():
        return
    remove_unused_seeds(settings.seeds_dir, _counting(settings))
    first = beginnings(settings, FACT_TOPICS)
    number = seed(spark, settings, first, new.checkpoint_dir / POSTS_WITH_COUNTS)
    if number:
        console.print(f"{number:,} records come from the archive: Kafka has them no more")
    starts = {",".join(FACT_TOPICS): first}
    if TRENDING_POSTS in jobs:
        posts, *acts = FACT_TOPICS
        keep_archived_posts(spark, settings, first, new)
        moment = datetime.now(timezone.utc) - JUDGED
        starts |= {posts: {posts: first[posts]}, ",".join(acts): since(settings, acts, int(moment.timestamp() * 1000))}
    pin(new.checkpoint_dir, starts)


def _follow(settings: Settings, processes: Mapping[str, Process], console: Console) -> None:
    new = there.beside(settings)
    checkpoint = new.checkpoint_dir / POSTS_WITH_COUNTS
    start = total(beginnings(settings, FACT_TOPICS))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("counting anew", total=None)
        while not caught_up(new, processes):
            goal = total(ends(settings, FACT_TOPICS)) - start
            done = total(committed_offsets(checkpoint))
            progress.update(task, total=goal, completed=max(0, done - start))
            time.sleep(0.5)


def compare(spark: SparkSession, settings: Settings) -> Comparison:
    """Post by post; those that facts just went into are looked at again, a few times."""
    found, left = Comparison(), None
    for round_ in range(ROUNDS):
        verdicts = both_tellings(spark, settings)
        verdicts = verdicts.transform(remember_seen) if left is None else verdicts.join(left, "post_id")
        if round_ == ROUNDS - 1:
            verdicts = verdicts.transform(stuck_differ).transform(settled, MISSING, NEW)
        verdicts = verdicts.localCheckpoint()
        found = found.settled_by(judge(verdicts))
        left = verdicts.where(verdicts.verdict.isin(*UNSETTLED)).select("post_id", "first_seen")
        if not found.unsettled:
            break
        time.sleep(PAUSE)
    if TRENDING_POSTS not in there.jobs(settings):
        return found
    return replace(found, minutes=_differing_minutes(spark, settings))


def _differing_minutes(spark: SparkSession, settings: Settings) -> int:
    """Of the minutes that are over, those that differ each time one looks.

    Facts that came late still go into them, and one side is a tick ahead of the other: these differ now and then.
    """
    moment = datetime.now(timezone.utc) - timedelta(minutes=2)
    _until_kept(settings)
    left: DataFrame | None = None
    for round_ in range(ROUNDS):
        if round_:
            time.sleep(settings.rank_every_seconds)
        found = differing_minutes(spark, settings, there.beside(settings), moment).select("post_id", "minute")
        left = (found if left is None else found.join(left, ["post_id", "minute"], "left_semi")).localCheckpoint()
        if left.isEmpty():
            return 0
    return left.count() if left is not None else 0


def _until_kept(settings: Settings) -> None:
    """Each side whose rankings run gets the time to keep all facts that are there now."""
    goal = ends(settings, FACT_TOPICS)

    def is_kept(side: Settings) -> bool:
        return not runs(side, TRENDING_POSTS) or reached(committed_offsets(side.checkpoint_dir / TRENDING_POSTS), goal)

    with suppress(TimeoutError):  # then what differs says so
        wait_until(lambda: is_kept(settings) and is_kept(there.beside(settings)), DRAIN_SECONDS, str)


def switch(settings: Settings, role: str, accept: bool, console: Console) -> Comparison | None:
    """What is beside becomes live and the other way round; None where an interrupted switch was finished.

    Nothing is switched where posts differ and that is not accepted. SystemExit where the other switch was interrupted.
    """
    with only_command(settings), a_broker(settings), batch_session(settings) as spark, ExitStack() as live:

        def hold() -> None:
            live.enter_context(held(settings, there.jobs(settings)))

        refuse_unfinished_switch(settings.beside_dir, role)
        if there.planned(settings):
            hold()
            finish(spark, settings)
            return None
        if there.role(settings) != role:
            raise SystemExit(_nothing_to_switch(settings, role))
        _catch_up(settings, hold, console)
        # Beside has read at least as much: what it alone has may have come since.
        verdicts = both_tellings(spark, settings).transform(settled, MISSING, MOVING)
        stage(verdicts, settings.beside_dir / STAGED)
        found = judge(verdicts)
        if found.differ and not accept:
            return found
        make_plan(spark, settings, role)
        finish(spark, settings)
        return found


def _nothing_to_switch(settings: Settings, role: str) -> str:
    have = there.role(settings)
    if not have:
        return f"nothing stands in {settings.beside_dir}: make backfill builds it"
    if role == REBUILT:
        return "what stands beside was live before: make backfill ARGS=rollback brings it back"
    return "what stands beside was never live: make backfill ARGS=switch makes it so"


def _catch_up(settings: Settings, hold: Callable[[], None], console: Console) -> None:
    """Live stops; beside goes on until it has read at least as much, and stops too."""
    new, jobs = there.beside(settings), there.jobs(settings)
    queries = [query for job in jobs for query in STATES[job]]
    with running_jobs(new, jobs) as processes:
        _follow(settings, processes, console)
        hold()
        goals = {query: committed_offsets(settings.checkpoint_dir / query) for query in queries}
        goals[POSTS_WITH_COUNTS] = ends(
            settings, FACT_TOPICS
        )  # in real time live is ahead of the offsets that it has written down
        wait_until(
            lambda: all(reached(committed_offsets(new.checkpoint_dir / query), goals[query]) for query in queries),
            DRAIN_SECONDS,
            lambda: f"{' and '.join(jobs)} beside do not catch up: see {settings.log_dir}",
        )


def _counting(settings: Settings) -> list[Path]:
    """The checkpoints of the counts, live and beside."""
    return [one.checkpoint_dir / POSTS_WITH_COUNTS for one in (settings, there.beside(settings))]


def make_plan(spark: SparkSession, settings: Settings, role: str) -> None:
    """From here on the switch can only be finished."""
    term = next_term(spark, [settings, there.beside(settings)])
    there.plan(settings, term=term, places=there.places(settings), role=role)


def finish(spark: SparkSession, settings: Settings) -> None:
    """From the plan on: every step can be done again."""
    plan = there.planned(settings)
    if not plan.get("published"):
        exchange(staged(spark, settings.beside_dir / STAGED), settings, plan["term"])
        checkpoint = there.beside(settings).checkpoint_dir / POSTS_WITH_COUNTS
        sign(checkpoint, plan["term"])
        there.plan(settings, published=True)
    there.change_places(settings)
    there.take_role(settings, BEFORE if plan["role"] == REBUILT else REBUILT, there.jobs(settings))
    there.finish(settings)


def compare_only(settings: Settings, console: Console) -> Comparison:
    """Let what is beside catch up, and compare."""
    if not there.role(settings):
        raise SystemExit(f"nothing stands in {settings.beside_dir}: make backfill builds it")
    new, jobs = there.beside(settings), there.jobs(settings)
    with (
        only_command(settings),
        a_broker(settings),
        batch_session(settings) as spark,
        running_jobs(new, jobs) as processes,
    ):
        _follow(settings, processes, console)
        return compare(spark, settings)


def drop(settings: Settings) -> bool:
    """Remove what is beside, with its topics."""
    with only_command(settings):
        refuse_unfinished_switch(settings.beside_dir)
        with a_broker(settings):
            dropped = there.drop(settings)
        remove_unused_seeds(settings.seeds_dir, _counting(settings))
        return dropped

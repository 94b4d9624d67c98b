"""Commands that change checkpoints and tables keep apart, from the stack too; what one leaves half-way is seen."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from conf.settings import Settings
from jobs import generations, harness
from jobs.checkpoints import seed_name
from jobs.running import FORGET, FORGETTING, is_held, only_one
from runtime import backfill, beside, forget, rescale, stack
from runtime.children import alone, only_command
from runtime.parts import JOBS

USER = "Ada-of-1815"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def test_two_commands_are_not_at_work_at_once(settings: Settings) -> None:
    with only_command(settings):
        for command in (
            lambda: backfill.build(settings, False, Console()),
            lambda: backfill.switch(settings, backfill.REBUILT, False, Console()),
            lambda: backfill.drop(settings),
            lambda: forget.forget(settings, USER, True, Console()),
        ):
            with pytest.raises(SystemExit, match=r"is at work on .*: wait until it is done"):
                command()


def test_a_stack_neither_starts_nor_runs_while_a_command_is_alone(settings: Settings) -> None:
    with (
        alone(settings, "states"),
        pytest.raises(SystemExit, match="msm forget or rescale is at work"),
    ):
        stack.start(settings, print)
    with (
        only_one(settings.run_dir, "stack"),
        pytest.raises(SystemExit, match="a stack just starts or ends"),
        alone(settings, "states"),
    ):
        pytest.fail("it went on")


def test_whoever_waits_for_no_lock_can_ask_for_it(settings: Settings) -> None:
    assert not is_held(settings.run_dir, "archive")
    with only_one(settings.run_dir, "archive"):
        assert is_held(settings.run_dir, "archive")
    assert not is_held(settings.run_dir, "archive")


def test_no_job_starts_while_states_are_rescaled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_away: list[bool] = []
    monkeypatch.setattr(rescale, "batch_session", lambda _: nullcontext())
    monkeypatch.setattr(rescale, "rescale_query", lambda *_: kept_away.append(all_held(settings)))
    rescale.rescale(settings, 8, lambda _: None)
    assert kept_away == [True] * 3
    assert not all_held(settings)


def all_held(settings: Settings) -> bool:
    return all(is_held(settings.run_dir, job) for job in JOBS)


def test_who_starts_beside_a_command_with_a_broker_of_its_own_is_told_to_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "_launch", lambda *_: pytest.fail("it went on"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        there = settings.model_copy(update={"kafka_bootstrap": "", "kafka_port": port})
        with (
            only_command(settings),
            pytest.raises(SystemExit, match=r"backfill is at work on .*: wait until it is done"),
        ):
            stack.start(there, print)
        with pytest.raises(SystemExit, match=f"port {port} of the embedded broker is in use"):
            stack.start(there, print)


class KilledError(Exception):
    """What ends an erasure in the middle."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An erasure whose steps only say that they were taken."""
    taken: list[str] = []

    def step(name: str, found: Any) -> Any:
        return lambda *_: (taken.append(name), found)[1]

    frame = SimpleNamespace()
    frame.persist = frame.localCheckpoint = frame.unpersist = lambda: frame
    monkeypatch.setattr(
        forget,
        "erasure",
        SimpleNamespace(
            relevant_facts=lambda *_: frame,
            posts_of=lambda *_: frame,
            pictures_of=lambda *_: [],
            has_facts=lambda *_: False,
            rewrite_lake=step("lake", {}),
        ),
    )
    monkeypatch.setattr(forget, "beginnings", lambda *_: {})
    monkeypatch.setattr(forget, "_publish", step("take back", 0))
    monkeypatch.setattr(forget, "_copy_facts", step("copy", {}))
    monkeypatch.setattr(forget, "_copy_letters", step("letters", {}))
    monkeypatch.setattr(forget, "delete_before", step("delete", None))
    monkeypatch.setattr(forget, "_remake", step("remake", []))
    for session in ("a_broker", "batch_session"):
        monkeypatch.setattr(forget, session, lambda _: nullcontext())
    monkeypatch.setattr(forget, "let_jobs_read", step("jobs", None))
    return taken


@pytest.fixture
def half_forgotten(settings: Settings, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    def breaks(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as broken:
        broken.setattr(forget, "delete_before", breaks)
        with pytest.raises(KilledError):
            forget.forget(settings, USER, True, Console())
    steps.clear()
    return settings


def start_job(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a job of the stack goes as far as its queries."""
    started: list[bool] = []
    monkeypatch.setattr(harness, "load_settings", lambda: settings)
    monkeypatch.setattr(harness, "broker_listens", lambda *_: True)
    monkeypatch.setattr(harness, "_refuse_other_topics", lambda *_: None)
    monkeypatch.setattr(harness, "_run", lambda *_: started.append(True))
    harness.main("archive", lambda *_: [])
    return bool(started)


def test_nothing_starts_on_what_an_interrupted_erasure_left(
    half_forgotten: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in (lambda: stack.start(half_forgotten, print), lambda: start_job(half_forgotten, monkeypatch)):
        with pytest.raises(SystemExit, match=f"msm forget {USER} --facts was interrupted half-way: run it again"):
            start()
    monkeypatch.setenv(FORGETTING, USER)  # one that the erasure itself runs
    assert start_job(half_forgotten, monkeypatch)


def test_it_is_finished_by_the_same_command_and_by_no_other(
    half_forgotten: Settings, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for user, with_facts in (("bob", True), (USER, False)):
        with pytest.raises(SystemExit, match="was interrupted half-way"):
            forget.forget(half_forgotten, user, with_facts, Console())
    forget.forget(half_forgotten, USER, True, Console())
    assert steps == ["take back", "copy", "jobs", "letters", "lake", "delete", "remake"]
    assert not (half_forgotten.data_dir / FORGET).exists()
    assert start_job(half_forgotten, monkeypatch)


def test_an_erasure_that_keeps_the_facts_can_be_interrupted_anywhere(
    settings: Settings, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> None:
        raise KilledError

    monkeypatch.setattr(forget, "_remove_views", breaks)
    with pytest.raises(KilledError):
        forget.forget(settings, USER, False, Console())
    assert start_job(settings, monkeypatch)


def test_an_erasure_takes_what_killed_jobs_and_audits_left(settings: Settings, steps: list[str]) -> None:
    left = [settings.data_dir / "audit" / "tmp1" / "facts.parquet", settings.data_dir / "scratch" / "archive" / "x"]
    for path in left:
        path.parent.mkdir(parents=True)
        path.touch()
    forget.forget(settings, USER, False, Console())
    assert not [path for path in left if path.exists()]


def test_the_jobs_of_an_erasure_are_told_whose_they_are(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    @contextmanager
    def process(*arguments: Any) -> Iterator[None]:
        told.append(arguments)
        raise KilledError
        yield

    monkeypatch.setattr(forget, "ends", lambda *_: {})
    monkeypatch.setattr(forget, "running_jobs", process)
    with pytest.raises(KilledError):
        forget.let_jobs_read(settings, USER, print, ["archive"])
    assert told == [(settings, ["archive"], {FORGETTING: USER})]


class Admin:
    """Stands in for Kafka's: topics that are deleted are gone."""

    def __init__(self, *topics: str) -> None:
        self.topics = set(topics)

    def list_topics(self) -> list[str]:
        return sorted(self.topics)

    def delete_topics(self, names: list[str]) -> None:
        self.topics -= set(names)

    def close(self) -> None:
        pass


@pytest.fixture
def dropped(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Admin:
    """Something stands beside; a drop of it is killed as it begins to remove files."""
    beside.take_role(settings, backfill.REBUILT, ["posts_with_counts"])
    start = beside.beside(settings).checkpoint_dir / "start.json"
    start.parent.mkdir()
    start.touch()
    admin = Admin("posts_with_counts-beside", "posts_with_counts")
    monkeypatch.setattr(beside, "admin_client", lambda _: admin)

    def is_killed(_: Path) -> None:
        raise KilledError

    with monkeypatch.context() as killed:
        killed.setattr(beside.shutil, "rmtree", is_killed)
        with pytest.raises(KilledError):
            beside.drop(settings)
    return admin


def test_nothing_goes_on_from_what_was_half_dropped(settings: Settings, dropped: Admin) -> None:
    assert beside.role(settings) == ""
    assert not (beside.beside(settings).checkpoint_dir / "start.json").exists()


def test_the_rest_is_removed_by_whoever_comes_next(settings: Settings, dropped: Admin) -> None:
    before = {path.name for path in settings.data_dir.iterdir()}
    beside.sweep(settings)
    after = {path.name for path in settings.data_dir.iterdir()}
    assert (before - after, dropped.topics) == ({"beside.gone"}, {"posts_with_counts"})
    dropped.topics.add("posts_with_counts-beside")
    beside.sweep(settings)
    assert "posts_with_counts-beside" in dropped.topics, "they are of a rebuild that stands"


def test_a_drop_that_cannot_remove_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    beside.take_role(settings, backfill.REBUILT, ["posts_with_counts"])
    monkeypatch.setattr(beside, "admin_client", lambda _: Admin())
    monkeypatch.setattr("os.rmdir", lambda *_, **__: (_ for _ in ()).throw(PermissionError("read-only")))
    with pytest.raises(PermissionError):
        beside.drop(settings)


def test_a_seed_is_named_whole_or_not_at_all(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    old: Any = SimpleNamespace(count=lambda: 1, write=SimpleNamespace())
    old.write.option = lambda *_: SimpleNamespace(parquet=lambda _: None)
    monkeypatch.setattr(generations, "_only_archived", lambda *_: old)
    checkpoint = settings.checkpoint_dir / "posts_with_counts"

    def is_killed(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as killed:
        killed.setattr(Path, "replace", is_killed)
        with pytest.raises(KilledError):
            generations.seed(None, settings, {}, checkpoint)  # type: ignore[arg-type]
    assert seed_name(checkpoint) == ""
    generations.seed(None, settings, {}, checkpoint)  # type: ignore[arg-type]
    assert len(seed_name(checkpoint)) == 32


@pytest.mark.parametrize(
    ("begun", "other", "command"),
    [(backfill.REBUILT, backfill.BEFORE, "switch"), (backfill.BEFORE, backfill.REBUILT, "rollback")],
)
def test_an_interrupted_switch_is_finished_by_its_own_command_and_by_no_other(
    settings: Settings, begun: str, other: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside.take_role(settings, begun, [])
    beside.plan(settings, term=1, places=[], role=begun, published=True)
    for session in ("a_broker", "batch_session"):
        monkeypatch.setattr(backfill, session, lambda _: nullcontext())
    said = rf"interrupted half-way: finish it with make backfill ARGS={command}$"
    for refused in (
        lambda: backfill.switch(settings, other, True, Console()),
        lambda: backfill.drop(settings),
        lambda: start_job(settings, monkeypatch),
    ):
        with pytest.raises(SystemExit, match=said):
            refused()
    assert backfill.switch(settings, begun, True, Console()) is None
    assert (beside.planned(settings), beside.role(settings)) == ({}, other)

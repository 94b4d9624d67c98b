"""Where a run takes place: a data dir of its own, and a broker of its own or an empty cluster that was named."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.run import audit_once
from conf import REPOSITORY
from conf.settings import Settings
from contract.topics import TOPIC_BY_NAME
from jobs.offsets import ends
from jobs.submit import job_env
from runtime.access import ensure_access
from runtime.admin import admin_client
from runtime.broker import embedded_broker
from runtime.own_stack import own_settings
from runtime.parts import stack_parts
from runtime.processes import Process, wait_until
from runtime.stack import refuse_taken_website
from runtime.topics import ensure_topics

STOP_SECONDS = 60


@dataclass(frozen=True)
class Place:
    """Broker and data dir; what is started here is stopped here."""

    settings: Settings

    def empty(self) -> None:
        """New topics without records, and no checkpoint, table or view of what was in the old ones."""
        _remove_topics(self.settings)
        ensure_topics(self.settings)
        ensure_access(self.settings)
        for folder in ("checkpoints", "lake", "feeds", "run"):
            shutil.rmtree(self.settings.data_dir / folder, ignore_errors=True)

    @contextmanager
    def running(self, name: str, prefix: tuple[str, ...] = (), **env: str) -> Iterator[Process]:
        """A part of the stack, started as the supervisor starts it; `prefix` stands before its command."""
        part = next(part for part in stack_parts(self.settings) if part.name == name)
        process = self._start(name, (*prefix, *part.command), env)
        with _stopped_after(process, part.ask_to_stop):
            yield process

    @contextmanager
    def running_other(self, name: str, command: tuple[str, ...]) -> Iterator[Process]:
        """Something that is no part of the stack, with what a part gets."""
        process = self._start(name, command, {})
        with _stopped_after(process):
            yield process

    def is_ready(self, name: str) -> bool:
        """Whether the part says so itself."""
        return next(part for part in stack_parts(self.settings) if part.name == name).ready()

    def audited(self, source: str) -> dict[str, Any]:
        """The report of an audit of all that was made here. SystemExit where it can say nothing."""
        _, found = audit_once(self.settings, source)
        if "error" in found:
            raise SystemExit(f"what was measured could not be audited: {found['error']}")
        return found

    def _start(self, name: str, command: tuple[str, ...], env: Mapping[str, str]) -> Process:
        return Process.start(name, command, self.settings.log_dir, {**job_env(self.settings), **env}, REPOSITORY)


@contextmanager
def _stopped_after(process: Process, ask: Callable[[Process], bool] | None = None) -> Iterator[None]:
    """Asked to end after the block; killed where the block failed, since nobody wants what it leaves."""
    try:
        yield
    except BaseException:
        process.kill()
        raise
    process.stop(STOP_SECONDS, asked=bool(ask and ask(process)))


def refuse_ended(process: Process) -> None:
    """SystemExit with its last words where it has ended before its time."""
    if process.exit_code is not None:
        raise SystemExit(f"{process.name} ended: {process.last_words()} (log: {process.log.name})")


@contextmanager
def a_place(folder: Path, report: Path) -> Iterator[Place]:
    """A broker and a data dir for a block, removed after it; where the block fails, `report` has the logs.

    SystemExit where a cluster that is set holds records, or something else has the website's port.
    """
    settings = own_settings(folder)
    refuse_taken_website(settings)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_logs_kept(settings.log_dir, report / "logs"))
        if settings.embedded_kafka:
            stack.enter_context(embedded_broker(settings))
        else:
            _refuse_records_of_others(settings)
            stack.callback(_remove_topics, settings)
        yield Place(settings)


@contextmanager
def _logs_kept(logs: Path, kept: Path) -> Iterator[None]:
    """Where the block fails; whoever interrupts it wants none of them."""
    try:
        yield
    except (Exception, SystemExit):
        if logs.exists():
            shutil.copytree(logs, kept)
        raise


def _refuse_records_of_others(settings: Settings) -> None:
    """The jobs read whole topics, and all are made anew and removed at the end: never where somebody's records are."""
    with closing(admin_client(settings)) as admin:
        there = sorted(set(admin.list_topics()) & set(TOPIC_BY_NAME))
    records = {topic: sum(parts.values()) for topic, parts in ends(settings, there).items()}
    if held := [f"{topic} ({many:,})" for topic, many in records.items() if many]:
        raise SystemExit(
            f"{settings.bootstrap} has records in {', '.join(held)}, and make bench would remove these topics: "
            "name a cluster where they are empty, or leave MSM_KAFKA_BOOTSTRAP empty"
        )


def _remove_topics(settings: Settings) -> None:
    with closing(admin_client(settings)) as admin:
        there = set(admin.list_topics()) & set(TOPIC_BY_NAME)
        if there:
            admin.delete_topics(sorted(there))
            wait_until(lambda: not there & set(admin.list_topics()), 60, lambda: "Kafka does not delete its topics")

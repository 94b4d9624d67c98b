"""Where a run takes place: a data dir of its own, and a broker of its own or an empty cluster that was named."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.run import audit_once
from conf import REPOSITORY
from conf.settings import Settings
from contract.facts import FACT_TOPICS
from contract.topics import TOPICS
from jobs.offsets import ends, total
from jobs.submit import job_env
from runtime.access import ensure_access
from runtime.admin import admin_client
from runtime.broker import embedded_broker, free_ports
from runtime.parts import stack_parts
from runtime.processes import Process, wait_until
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
def _stopped_after(process: Process, ask: Callable[[], bool] | None = None) -> Iterator[None]:
    """Asked to end after the block; killed where the block failed, since nobody wants what it leaves."""
    try:
        yield
    except BaseException:
        process.kill()
        raise
    process.stop(STOP_SECONDS, asked=bool(ask and ask()))


@contextmanager
def a_place(folder: Path) -> Iterator[Place]:
    """A broker and a data dir for a block, removed after it. SystemExit where a cluster that is set holds facts."""
    settings = own_settings(folder)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if settings.embedded_kafka:
            stack.enter_context(embedded_broker(settings))
        else:
            _refuse_facts_of_others(settings)
            stack.callback(_remove_topics, settings)
        yield Place(settings)


def own_settings(folder: Path) -> Settings:
    """Also for every process that is started from here; free ports where none are set."""
    free = free_ports()
    os.environ.setdefault("MSM_KAFKA_PORT", str(free))
    os.environ.setdefault("MSM_HTTP_PORT", str(free + 2))
    os.environ.update(MSM_DATA_DIR=str(folder.absolute()), MSM_STORE="", MSM_AUDIT_EVERY_SECONDS="0")
    return Settings()


def _refuse_facts_of_others(settings: Settings) -> None:
    """The jobs read whole topics, and topics are made anew: never where somebody's facts are."""
    with closing(admin_client(settings)) as admin:
        there = set(admin.list_topics()) & set(FACT_TOPICS)
    if there and (facts := total(ends(settings, sorted(there)))):
        raise SystemExit(
            f"the topics {', '.join(sorted(there))} at {settings.bootstrap} hold {facts:,} facts, and make bench would "
            "remove them: name a cluster without facts, or leave MSM_KAFKA_BOOTSTRAP empty"
        )


def _remove_topics(settings: Settings) -> None:
    with closing(admin_client(settings)) as admin:
        there = set(admin.list_topics()) & {topic.name for topic in TOPICS}
        if there:
            admin.delete_topics(sorted(there))
            wait_until(lambda: not there & set(admin.list_topics()), 60, lambda: "Kafka does not delete its topics")

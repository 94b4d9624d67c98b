"""A view in one SQLite file: rows and applied Kafka offsets change in one transaction.

One thread writes. Any thread reads, each over a connection of its own; WAL keeps the two apart.
A file that is lost, cut, corrupt, of another schema or too old is built anew from the topics.
"""

import fcntl
import secrets
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import structlog

from contract.topics import TOMBSTONES_KEPT
from service.server import CannotStartError

log = structlog.get_logger()

Offsets = dict[tuple[str, int], int]
"""Next offset to read of (topic, partition)."""

TOMBSTONES_KEPT_SECONDS = TOMBSTONES_KEPT.total_seconds()
_AWAY = "it was away for longer than tombstones are kept"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Another one after each start of the machine (Linux)."""

# A value is a blob, so that SQLite takes no epoch of digits for a number.
_COMMON = """
create table meta (name text primary key, value blob not null) without rowid;
create table offsets (topic text, partition integer, next integer not null, primary key (topic, partition))
  without rowid;
"""


class InUseError(CannotStartError):
    """Another process keeps this view."""


class NoStoreError(CannotStartError):
    """The file cannot be opened, nor made."""


class MustRebuildError(RuntimeError):
    """The view is of no use any more, and why."""


class View:
    """The file, its transactions and its life; subclasses add rows (`schema`) and what they mean."""

    schema: str = ""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._generation = 0
        self._damage: str | None = None
        self.rebuilt: Callable[[], None] = lambda: None
        self.is_whole = False
        """Whether it was in step since it was built: until then it has a part, and of that an earlier state."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path.with_suffix(".lock"))
        except OSError as error:
            raise _no_store(path, error) from None
        try:
            self._writer = self._open()
        except (OSError, sqlite3.OperationalError) as error:
            self._lock.close()
            raise _no_store(path, error) from None

    @property
    def _fingerprint(self) -> int:
        return zlib.crc32((_COMMON + self.schema).encode()) & 0x7FFFFFFF

    @property
    def epoch(self) -> str:
        """A random id that the view got when it was built, or the machine started: what its changes are counted in."""
        return str(get(self._writer, "epoch"))

    def offsets(self) -> Offsets:
        """Where reading goes on, for every partition that has been read."""
        rows = self._writer.execute("select topic, partition, next from offsets")
        return {(topic, partition): following for topic, partition, following in rows}

    def rebuild(self, reason: str) -> None:
        """Throw the view away; the caller reads the topics from their start."""
        log.warning("feed store is rebuilt from Kafka", store=self.path.name, reason=reason)
        self.is_whole = False
        self._writer.close()
        self._writer = self._create()
        self._generation += 1
        self._damage = None
        self.rebuilt()

    def touch(self) -> None:
        """Remember that the view was in step with its topics now."""
        with self.writing() as db:
            _put(db, "in_step_at", self._clock())
            _put(db, "is_whole", 1)
        self.is_whole = True

    def topic_ids(self) -> dict[str, str]:
        """The ids of the topics that the view was made from."""
        rows = self._writer.execute("select substr(name, 7), value from meta where name like 'topic:%'")
        return dict(rows.fetchall())

    def remember_topics(self, ids: Mapping[str, str]) -> None:
        with self.writing() as db:
            for topic, topic_id in ids.items():
                _put(db, f"topic:{topic}", topic_id)

    def check_in_step(self) -> None:
        """MustRebuildError where its topics may have forgotten tombstones that it has not read."""
        if self._is_long_away(self._writer):
            raise MustRebuildError(_AWAY)

    def check(self) -> None:
        """MustRebuildError where the file is gone, or where somebody read something corrupt."""
        if not self.path.exists():
            raise MustRebuildError("its file is gone")
        if self._damage is not None:
            raise MustRebuildError(self._damage)

    @contextmanager
    def writing(self, offsets: Mapping[tuple[str, int], int] | None = None) -> Iterator[sqlite3.Connection]:
        """One transaction of the writer; with `offsets` these are what has been applied by its end."""
        with self._transaction(self._writer, "begin immediate", "commit") as db:
            yield db
            rows = [(topic, partition, following) for (topic, partition), following in (offsets or {}).items()]
            db.executemany("insert or replace into offsets values (?, ?, ?)", rows)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the view, for as long as the block lasts."""
        with self._transaction(self._reader(), "begin", "rollback") as db:
            yield db

    def one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        """The row of a query, in one step: each step lets other threads run before it comes back."""
        try:
            row: tuple[Any, ...] | None = self._reader().execute(query, values).fetchone()
            return row
        except sqlite3.DatabaseError as error:
            self._note(error)
            raise

    @contextmanager
    def _transaction(self, db: sqlite3.Connection, begin: str, end: str) -> Iterator[sqlite3.Connection]:
        try:
            db.execute(begin)
            yield db
            db.execute(end)
        except BaseException as error:
            self._note(error)
            if db.in_transaction:
                db.execute("rollback")
            raise

    def _note(self, error: BaseException) -> None:
        if type(error) is sqlite3.DatabaseError:  # its subclasses are passing troubles: locks, a full disk
            self._damage = f"it is corrupt: {error}"

    def close(self) -> None:
        for connection in (self._writer, *self._opened):
            connection.close()
        self._lock.close()

    def _reader(self) -> sqlite3.Connection:
        known = getattr(self._readers, "known", None)
        if known is None or known[0] != self._generation:
            if known is not None:
                self._opened.remove(known[1])
                known[1].close()  # else the file that was thrown away would keep its room on the disk
            known = self._readers.known = (self._generation, _tune(_connect(self.path)))
            self._opened.append(known[1])
        connection: sqlite3.Connection = known[1]
        return connection

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            log.info("feed store is new: it is built from Kafka", store=self.path.name)
            return self._create()
        db = _connect(self.path)
        reason = self._why_unusable(db)
        if reason is None:
            _begin_epoch(db)
            self.is_whole = db.execute("select 1 from meta where name = 'is_whole'").fetchone() is not None
            return db
        log.warning("feed store is rebuilt from Kafka", store=self.path.name, reason=reason)
        db.close()
        return self._create()

    def _why_unusable(self, db: sqlite3.Connection) -> str | None:
        try:
            if _tune(db).execute("pragma user_version").fetchone()[0] != self._fingerprint:
                return "it has another schema"
            verdict = db.execute("pragma quick_check(1)").fetchone()[0]
            if verdict != "ok":
                return f"it is corrupt: {verdict}"
            return _AWAY if self._is_long_away(db) else None
        except (sqlite3.DatabaseError, TypeError) as error:
            return f"it is corrupt: {error}"

    def _is_long_away(self, db: sqlite3.Connection) -> bool:
        return self._clock() - float(get(db, "in_step_at")) > TOMBSTONES_KEPT_SECONDS

    def _create(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        db = _tune(_connect(self.path))
        db.execute("pragma journal_mode = wal")
        db.executescript(f"begin; {_COMMON} {self.schema} pragma user_version = {self._fingerprint};")
        for name, value in (("seq", 0), ("in_step_at", self._clock())):
            _put(db, name, value)
        _begin_epoch(db)
        db.execute("commit")
        return db


def get(db: sqlite3.Connection, name: str) -> str | int | float:
    """A value that the view remembers; TypeError where it does not."""
    value: str | int | float = db.execute("select value from meta where name = ?", (name,)).fetchone()[0]
    return value


def _put(db: sqlite3.Connection, name: str, value: str | float) -> None:
    db.execute("insert or replace into meta values (?, ?)", (name, value))


def _begin_epoch(db: sqlite3.Connection) -> None:
    """A new one after each start of the machine: a power cut may have taken back changes whose ids clients have."""
    try:
        boot = BOOT_ID.read_text()
    except OSError:
        boot = secrets.token_hex(6)  # not Linux: each time
    if db.execute("select 1 from meta where (name, value) = ('boot', ?)", (boot,)).fetchone() is None:
        _put(db, "epoch", secrets.token_hex(6))
        _put(db, "boot", boot)


def _no_store(path: Path, error: Exception) -> NoStoreError:
    return NoStoreError(
        f"{path} cannot be used ({error}): see that it is no folder, that one may write there, and that there is room; "
        "it may be removed, since it is made again from Kafka"
    )


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)


def _tune(db: sqlite3.Connection) -> sqlite3.Connection:
    db.execute("pragma synchronous = normal")  # a power cut may lose the newest transactions, offsets included
    db.execute("pragma cache_size = -65536")
    return db


def _locked(path: Path) -> IO[str]:
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise InUseError(
            f"{path.with_suffix('.sqlite')} is in use by another process: stop it, or set MSM_DATA_DIR"
        ) from None
    return lock

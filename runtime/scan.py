"""Searches every file of a data dir for words, behind whatever it is packed in: `msm scan` proves what is gone."""

import math
import os
import sqlite3
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain, islice
from pathlib import Path

import lz4.block  # type: ignore[import-untyped]
import pyarrow.parquet as pq
from kafka.record import MemoryRecords

from runtime.sst import entries

LZ4_MAGIC, LZ4_HEADER, LZ4_RAW = b"LZ4Block", 21, 0x10
PIECE = 1 << 24
SST = ".sst"


def found_in(folder: Path, words: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Each file that holds one of the words, also within a longer one, with the word, once each.

    A stack that runs renames files and removes them: what is there under a new name is looked at in its turn; what was
    written since the search began is not. A file that was torn off, and cannot be unpacked, is told with the reason in
    the place of a word: nobody knows what it holds.
    """
    wanted = {word: _forms(word) for word in words}
    began, seen = time.time(), set[Path]()
    fresh = _files(folder, math.inf)  # the clock may have been set back, or be another machine's
    while fresh:
        for path in sorted(fresh):
            hit = set[str]()
            try:
                for piece in _pieces(path):
                    hit |= {word for word in wanted.keys() - hit if any(form in piece for form in wanted[word])}
            except Exception as error:  # whatever a format's reader trips over
                if path.exists():
                    yield path, f"cannot be unpacked: {error}"
            yield from ((path, word) for word in sorted(hit))
        seen |= fresh
        fresh = _files(folder, began) - seen


def _files(folder: Path, by: float) -> set[Path]:
    """All that are there now and were last written by that time."""
    found = set[Path]()
    for root, _, names in os.walk(folder, onerror=_unless_gone):
        for path in (Path(root, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime <= by:
                    found.add(path)
    return found


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _forms(word: str) -> set[bytes]:
    """As text, as JSON has it, and as a printed row of a table has it."""
    return {word.encode(), ascii(word)[1:-1].encode(), repr(word.encode())[2:-1].encode()}


def _pieces(path: Path) -> Iterator[bytes]:
    """What the file says as it stands, and unpacked."""
    yield from _raw(path)
    for kind, unpack in _UNPACK.items():
        if path.name.endswith(kind):
            yield from unpack(path)


def _raw(path: Path) -> Iterator[bytes]:
    overlap = b""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield overlap + piece
            overlap = piece[-4_096:]


def _kafka(path: Path) -> Iterator[bytes]:
    """Keys, values and headers of a segment of the broker's log; other logs have none."""
    if not path.stem.removesuffix(".log").isdecimal():
        return
    records = MemoryRecords(path.read_bytes())
    while (batch := records.next_batch()) is not None:
        for record in batch:
            yield b"\0".join([record.key or b"", record.value or b"", repr(record.headers).encode()])


def _parquet(path: Path) -> Iterator[bytes]:
    for batch in pq.ParquetFile(path).iter_batches(10_000):
        yield repr(batch.to_pylist()).encode()


def _zip(path: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name.encode()
            yield (data := archive.read(name))
            if name.endswith(SST):
                yield from _rows(data)


def _changelog(path: Path) -> Iterator[bytes]:
    """Spark's LZ4 stream (lz4-java): blocks of magic, token, sizes and checksum before the data."""
    data, at = path.read_bytes(), 0
    unpacked = []
    while data[at : at + 8] == LZ4_MAGIC:
        packed, size = (int.from_bytes(data[at + place : at + place + 4], "little") for place in (9, 13))
        block = data[at + LZ4_HEADER : at + LZ4_HEADER + packed]
        if size:
            is_raw = data[at + 8] & 0xF0 == LZ4_RAW
            unpacked.append(block if is_raw else lz4.block.decompress(block, uncompressed_size=size))
        at += LZ4_HEADER + packed
    yield b"".join(unpacked)


def _sst(path: Path) -> Iterator[bytes]:
    yield from _rows(path.read_bytes())


def _rows(table: bytes) -> Iterator[bytes]:
    keys_and_values = chain.from_iterable(entries(table))
    while some := list(islice(keys_and_values, 10_000)):
        yield b"\0".join(some)


def _sqlite(path: Path) -> Iterator[bytes]:
    """What its tables hold: a text that is longer than a page stands in the file in parts."""
    # Without a log of what was written nobody writes, and to look leaves no file behind.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as db:
        db.text_factory = bytes
        for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
            rows = db.execute(f'select * from "{table.decode()}"')
            yield from (b"\0".join(cell for cell in row if isinstance(cell, bytes)) for row in rows)


_UNPACK: dict[str, Callable[[Path], Iterator[bytes]]] = {
    ".log": _kafka,
    ".log.deleted": _kafka,
    ".parquet": _parquet,
    ".zip": _zip,
    ".changelog": _changelog,
    ".sqlite": _sqlite,
    SST: _sst,
}

"""Reads RocksDB's table files (.sst), as Spark writes them.

The format is https://github.com/facebook/rocksdb/wiki/Rocksdb-BlockBasedTable-Format.
A file is blocks, each with its kind of compression and a checksum behind it, and a footer that says where two of them
are: the index has a handle (offset, size) for each block of data, the metaindex one by name for all else. An entry of a
block has of its key only what differs from the key before.
"""

from collections.abc import Iterator

import lz4.block  # type: ignore[import-untyped]

MAGIC = 0x88E241B785F4CFF7
FOOTER, TRAILER, SEQUENCE = 53, 5, 8
"""Bytes at the end of a file, of a block, and of a key."""
VERSIONS = (4, 5)
"""Of the format: before 4 an index is written otherwise, from 6 on a footer."""
RAW, LZ4 = 0, (4, 5)
PROPERTIES, DELETED_RANGES, ENTRIES = b"rocksdb.properties", b"rocksdb.range_del", b"rocksdb.num.entries"
Handle = tuple[int, int]


def entries(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key, whole, with its value; also what was overwritten or deleted since. ValueError where not all is read.

    Checksums are not looked at, but the number of entries is.
    """
    footer = file[-FOOTER:]
    if len(footer) < FOOTER or int.from_bytes(footer[-8:], "little") != MAGIC:
        raise ValueError("it does not end as a table of RocksDB does")
    if (version := int.from_bytes(footer[-12:-8], "little")) not in VERSIONS:
        raise ValueError(f"it is of version {version} of RocksDB's format")
    try:
        yield from _entries(file, footer)
    except (LookupError, lz4.block.LZ4BlockError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from None


def _entries(file: bytes, footer: bytes) -> Iterator[tuple[bytes, bytes]]:
    metaindex, at = _handle(footer, 1)
    index, _ = _handle(footer, at)
    there = {name: _handle(value, 0)[0] for name, value in _block(_unpacked(file, metaindex))}
    blocks = [*_data(_unpacked(file, index)), *([there[DELETED_RANGES]] if DELETED_RANGES in there else [])]
    read = 0
    for block in blocks:
        for key, value in _block(_unpacked(file, block)):
            read += 1
            yield key[:-SEQUENCE], value
    said, _ = _number(dict(_block(_unpacked(file, there[PROPERTIES])))[ENTRIES], 0)
    if read != said:
        raise ValueError(f"{read:,} of its {said:,} entries can be read")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first, and where it ends."""
    number = shift = 0
    while data[at] & 0x80:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | data[at] << shift, at + 1


def _handle(data: bytes, at: int) -> tuple[Handle, int]:
    offset, at = _number(data, at)
    size, at = _number(data, at)
    return (offset, size), at


def _unpacked(file: bytes, handle: Handle) -> bytes:
    offset, size = handle
    block, kind = file[offset : offset + size], file[offset + size]
    if kind == RAW:
        return block
    if kind not in LZ4:
        raise ValueError(f"a block is compressed in RocksDB's way {kind}, which is neither none nor LZ4")
    size, at = _number(block, 0)
    unpacked: bytes = lz4.block.decompress(block[at:], uncompressed_size=size)
    return unpacked


def _end(block: bytes) -> int:
    """Behind the last entry: there are the places at which keys are whole, four bytes each, and their number."""
    return len(block) - 4 * (1 + int.from_bytes(block[-4:], "little"))


def _block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, end, key = 0, _end(block), b""
    while at < end:
        shared, at = _number(block, at)
        own, at = _number(block, at)
        size, at = _number(block, at)
        key, at = key[:shared] + block[at : at + own], at + own
        yield key, block[at : at + size]
        at += size


def _data(index: bytes) -> Iterator[Handle]:
    """The blocks of data. Where a key is whole its handle is; else the block follows the one before, and its size is
    said by how much it is more, or less: 0, -1, 1, -2, ... are 0, 1, 2, 3, ..."""
    at, end, offset, size = 0, _end(index), 0, 0
    while at < end:
        shared, at = _number(index, at)
        own, at = _number(index, at)
        at += own
        if shared:
            more, at = _number(index, at)
            offset, size = offset + size + TRAILER, size + ((more >> 1) ^ -(more & 1))
        else:
            (offset, size), at = _handle(index, at)
        yield offset, size

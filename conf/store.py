"""Where checkpoints, lake and pictures are: folders of the data dir, or of a bucket on an S3 API (`MSM_STORE`).

Keys, endpoint and region are AWS's own variables, which each library takes from the environment. They are nowhere else.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

from conf.settings import STORE_SCHEME, Settings

PIECE = 1 << 20
"""Bytes of an object that are in memory at a time while it is passed on."""
FILE_MANAGER = "org.apache.spark.internal.io.cloud.AbortableStreamBasedCheckpointFileManager"
"""An object appears whole, under its name: there is nothing to rename, which on S3 would be to copy."""
WITH_S3_JARS = "make setup ARGS=--s3, and spark-submit with --jars '.jars/spark/*.jar,.jars/s3/*.jar' (docs/cluster.md)"


class Place(Protocol):
    """A file or folder of a checkpoint, of the lake, or of the pictures: as much of pathlib.Path as is needed there."""

    @property
    def name(self) -> str: ...
    def __truediv__(self, name: str, /) -> "Place": ...
    def __lt__(self, other: Any, /) -> bool: ...
    def is_dir(self) -> bool: ...
    def is_file(self) -> bool: ...
    def glob(self, pattern: str, /) -> Iterable["Place"]: ...
    def rglob(self, pattern: str, /) -> Iterable["Place"]: ...
    def read_bytes(self) -> bytes: ...
    def read_text(self) -> str: ...
    def write_bytes(self, content: bytes, /) -> Any: ...


@dataclass(frozen=True, order=True)
class Object:
    """An object of a bucket, or all below a prefix. What is written is there whole, or not at all."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Object":
        return Object(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def size(self) -> int:
        """In bytes; FileNotFoundError where there is no such object."""
        found = self._info()
        if not found.is_file:
            raise FileNotFoundError(self.url)
        return int(found.size)

    def is_dir(self) -> bool:
        return bool(self._info().type.name == "Directory")

    def is_file(self) -> bool:
        return bool(self._info().is_file)

    def glob(self, pattern: str) -> Iterator["Object"]:
        return self._matching(pattern, recursive="**" in pattern)

    def rglob(self, pattern: str) -> Iterator["Object"]:
        return self._matching(pattern, recursive=True)

    def read_bytes(self) -> bytes:
        return b"".join(self.pieces())

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def pieces(self) -> Iterator[bytes]:
        """The content, a piece at a time; FileNotFoundError where there is no such object."""
        with s3().open_input_stream(self._key) as stream:
            while piece := stream.read(PIECE):
                yield piece

    def write_bytes(self, content: bytes) -> None:
        """Returns when the store has all of it."""
        with s3().open_output_stream(self._key) as stream:
            stream.write(content)

    def unlink(self) -> None:
        s3().delete_file(self._key)

    @property
    def _key(self) -> str:
        return self.url.removeprefix(STORE_SCHEME)

    def _info(self) -> Any:
        return s3().get_file_info(self._key)

    def _matching(self, pattern: str, recursive: bool) -> Iterator["Object"]:
        from pyarrow.fs import FileSelector

        found = s3().get_file_info(FileSelector(self._key, allow_not_found=True, recursive=recursive))
        return (Object(STORE_SCHEME + one.path) for one in found if PurePosixPath(one.path).match(pattern))


@cache
def s3() -> Any:
    """Arrow's client of the store that AWS's variables name."""
    from pyarrow.fs import S3FileSystem  # where no store is set, nobody waits for it

    url = os.environ.get("AWS_ENDPOINT_URL", "")
    endpoint = urlsplit(url)
    if url and not (endpoint.netloc and endpoint.scheme in ("http", "https")):  # Spark would take it, and Python AWS
        raise OSError(f"AWS_ENDPOINT_URL is {url!r}: write http:// or https:// before the host")
    own = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if url else {}
    return S3FileSystem(region=os.environ.get("AWS_REGION"), **own)


def checkpoints(settings: Settings) -> Place:
    """One folder a query."""
    return Object(f"{settings.store}/checkpoints") if settings.store else settings.checkpoint_dir


def lake(settings: Settings) -> Place:
    """One folder a Delta table."""
    return Object(f"{settings.store}/lake") if settings.store else settings.lake_dir


MEDIA_PATH = "/media/"
"""Where the website serves pictures."""


def media(settings: Settings) -> Path | Object:
    """Pictures by the hash of their content."""
    return Object(f"{settings.store}/media") if settings.store else settings.media_dir


def write_whole(place: Place, content: Mapping[str, Any]) -> None:
    """Write it as JSON, all of it or nothing, and make the folder."""
    text = json.dumps(content, indent=1)
    if not isinstance(place, Path):
        place.write_bytes(text.encode())
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f"{place.name}.new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
    fresh.replace(place)


def read_whole(place: Place) -> dict[str, Any]:
    """What was written so; empty where nothing was."""
    try:
        content: dict[str, Any] = json.loads(place.read_text())
    except FileNotFoundError:
        return {}
    return content


def session_conf(settings: Settings) -> dict[str, Any]:
    """What a session takes over conf/spark.conf, which is for local files. Keys are not in it.

    Spark's driver takes those from its environment, and hands them to executors with what they are to do.
    """
    # It has no tables, but Spark makes it once it makes one anywhere: by default in the folder that it was started in.
    warehouse = {"spark.sql.warehouse.dir": str((settings.data_dir / "scratch" / "warehouse").absolute())}
    if not settings.store:
        return warehouse
    endpoint, region = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_REGION"))
    s3a = {
        "endpoint": endpoint,
        "endpoint.region": region,
        "path.style.access": "true" if endpoint else "",
        # It tries again for minutes; the way for Parquet, S3A's default, gave up on a busy machine.
        "input.stream.type": "classic",
    }
    own = {f"spark.hadoop.fs.s3a.{name}": value for name, value in s3a.items() if value}
    return {"spark.sql.streaming.checkpointFileManagerClass": FILE_MANAGER, **warehouse, **own}


def delta_options(settings: Settings) -> dict[str, str] | None:
    """What delta-rs takes beside AWS's variables."""
    if not settings.store:
        return None
    return {"aws_allow_http": str(os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")).lower()}


def complaint(settings: Settings) -> str:
    """Why the bucket cannot be used, with the fix; empty where it can, and where there is none."""
    if not settings.store:
        return ""
    bucket = settings.store.removeprefix(STORE_SCHEME).split("/")[0]
    try:
        why = "" if Object(STORE_SCHEME + bucket).is_dir() else f"there is no bucket {bucket}"
    except OSError as error:
        why = str(error).splitlines()[0]
    return why and f"MSM_STORE is {settings.store}: {why}: make the bucket, or set AWS's variables (docs/cluster.md)"


def refuse_store(settings: Settings, what: str, fix: str) -> None:
    """SystemExit with the fix where there is a store: `what` works on folders of the data dir only."""
    if settings.store:
        raise SystemExit(f"{what} works on folders of the data dir only, and MSM_STORE is {settings.store}: {fix}")

"""A folder and a bucket hold a checkpoint alike, for what looks into one without Spark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.settings import Settings
from conf.store import Object, Place, checkpoints, media, write_whole
from jobs.checkpoints import committed_offsets, done_batch, made, pinned_start, sign, state_digest
from producers.pictures import keep_picture
from tests.cluster.s3_server import s3_server

LOG = 'v1\n{"batchWatermarkMs":0}\n{"likes":{"0":7}}'


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture(params=["a folder", "a bucket"])
def settings(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, store="" if request.param == "a folder" else f"{bucket}/mine")


def put(place: Place, text: str) -> None:
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())


def test_a_checkpoint_that_is_not_there_is_a_new_one(settings: Settings) -> None:
    new = checkpoints(settings) / "new"
    assert (done_batch(new), made(new), committed_offsets(new), state_digest(new)) == (-1, {}, {}, "none")
    assert pinned_start(new, "likes") == "earliest"


def test_the_last_batch_that_was_done_tells_its_offsets(settings: Settings) -> None:
    counts = checkpoints(settings) / "counts"
    for batch in (9, 10):
        put(counts / "offsets" / str(batch), LOG.replace("7", str(batch)))
        put(counts / "commits" / str(batch), "v1\n{}")
    put(counts / "offsets" / "11", "half")
    put(counts / "commits" / ".11.crc", "of Hadoop")
    assert done_batch(counts) == 10
    assert committed_offsets(counts) == {"likes": {0: 10}}


def test_the_schemas_of_state_are_found_at_any_depth(settings: Settings) -> None:
    joins = checkpoints(settings) / "joins"
    assert state_digest(joins) == "none"
    for operator, field in ((0, "a"), (10, "c"), (2, "b")):
        put(joins / "state" / str(operator) / "0" / "left" / "_metadata" / "schema", f'"name":"{field}"')
    digest = state_digest(joins)
    put(joins / "state" / "0" / "_stateSchema" / "default" / "3_batch", '"name":"d"')
    assert digest != state_digest(joins)
    assert digest == "250d674b"


def test_what_was_written_down_is_read_and_replaced_whole(settings: Settings) -> None:
    signed = checkpoints(settings) / "signed"
    for term in (1, 2):
        sign(signed, term)
    assert made(signed)["term"] == 2
    write_whole(signed / "start.json", {"likes": {0: 5}})
    assert pinned_start(signed, "likes") == '{"0": 5}'


def test_a_picture_is_kept_once_and_comes_back_in_pieces(settings: Settings) -> None:
    folder, data = media(settings), bytes(3 << 20)
    name = keep_picture(folder, data, "png")
    assert keep_picture(folder, data, "png") == name
    assert (folder / name).read_bytes() == data
    if isinstance(folder, Object):
        assert (folder / name).size == len(data)
        assert max(map(len, (folder / name).pieces())) < len(data)
    (folder / name).unlink()
    assert not (folder / name).is_file()
    with pytest.raises(FileNotFoundError):
        (folder / name).read_bytes()

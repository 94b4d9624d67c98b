"""A checkpoint is gone on from where it has the shape of the code, and refused with one sentence where it has not."""

import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from conf.settings import Settings
from contract.topics import POSTS_WITH_COUNTS
from jobs import checkpoints, posts_with_counts
from jobs.checkpoints import STATES, begun_batch, made, refuse_other_shapes, sign_new, state_digest
from jobs.harness import read_records
from tests import reference
from tests.rebuild.earlier_checkpoint import FIXTURES, PARTITIONS, facts_after, facts_before, write
from tests.rebuild.queries import run_once

COUNTS = "posts_with_counts"
EARLIER = sorted(FIXTURES.glob("counts-checkpoint-*.tar.gz"))


def unpack(earlier: Path, folder: Path) -> None:
    with tarfile.open(earlier) as tar:
        tar.extractall(folder, filter="data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of the version before."""
    unpack(EARLIER[-1], tmp_path)
    return tmp_path


def test_a_checkpoint_of_this_shape_is_taken(folder: Path) -> None:
    refuse_other_shapes(folder, COUNTS, PARTITIONS)


def test_no_checkpoint_at_all_is_taken(tmp_path: Path) -> None:
    for job in STATES:
        refuse_other_shapes(tmp_path, job, PARTITIONS)


def test_a_checkpoint_with_other_partitions_is_refused(folder: Path) -> None:
    said = rf"{folder / COUNTS} .*, 2 partitions, .*, 3 partitions, .* msm rescale 3 .* make backfill"
    with pytest.raises(SystemExit, match=said):
        refuse_other_shapes(folder, COUNTS, 3)


def test_a_checkpoint_with_other_columns_in_its_state_is_refused(folder: Path) -> None:
    schema = folder / COUNTS / "state/1/0/_metadata/schema"
    assert b"was_on" in schema.read_bytes()
    schema.write_bytes(schema.read_bytes().replace(b"was_on", b"is_off"))
    with pytest.raises(SystemExit, match=r"another shape .* make backfill"):
        refuse_other_shapes(folder, COUNTS, PARTITIONS)


def test_a_checkpoint_that_counted_by_other_rules_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "RULES", checkpoints.RULES + 1)
    with pytest.raises(SystemExit, match=r"rules 1\).*rules 2\).* make backfill"):
        refuse_other_shapes(folder, COUNTS, PARTITIONS)


def test_what_is_new_is_by_the_rules_of_today_for_every_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "RULES", checkpoints.RULES + 1)
    for job, queries in STATES.items():
        sign_new(tmp_path, job)
        for log in (tmp_path / query / log for query in queries for log in ("offsets", "commits")):
            log.mkdir()
            (log / "0").touch()
        with monkeypatch.context() as later:
            later.setattr(checkpoints, "RULES", checkpoints.RULES + 1)
            sign_new(tmp_path, job)
        assert {made(tmp_path / query)["rules"] for query in queries} == {checkpoints.RULES}
    refuse_other_shapes(tmp_path, "archive", PARTITIONS)


def newest_offsets(folder: Path) -> Path:
    return folder / COUNTS / "offsets" / str(begun_batch(folder / COUNTS))


def test_a_schema_that_a_join_wrote_again_after_a_kill_is_the_same_shape(tmp_path: Path) -> None:
    schemas = tmp_path / "state/0/_stateSchema/default"
    schemas.mkdir(parents=True)
    (schemas / "0_once").write_text('{"name":"post_id","type":"string","nullable":true}')
    once = state_digest(tmp_path)
    (schemas / "10_again").write_text('{"name":"post_id","type":"string","nullable":true}')
    assert state_digest(tmp_path) == once
    (schemas / "12_other").write_text('{"name":"post_id","type":"binary","nullable":true}')
    assert state_digest(tmp_path) != once


def test_a_checkpoint_whose_offsets_are_gone_is_named_with_the_fix(folder: Path) -> None:
    shutil.rmtree(folder / COUNTS / "offsets")
    with pytest.raises(SystemExit, match=rf"{folder / COUNTS} is damaged: .*docs/operations.md"):
        refuse_other_shapes(folder, COUNTS, PARTITIONS)


@pytest.mark.parametrize("kept", [0, 40])
def test_a_checkpoint_whose_newest_offsets_were_cut_is_named_with_the_fix(folder: Path, kept: int) -> None:
    newest = newest_offsets(folder)
    newest.write_bytes(newest.read_bytes()[:kept])
    with pytest.raises(SystemExit, match=rf"{folder / COUNTS} is damaged: .*docs/operations.md"):
        refuse_other_shapes(folder, COUNTS, PARTITIONS)


@pytest.mark.spark
@pytest.mark.kafka
@pytest.mark.parametrize("earlier", EARLIER, ids=lambda path: path.name)
def test_the_job_goes_on_from_a_checkpoint_of_the_version_before(
    spark: SparkSession, broker: Settings, tmp_path: Path, earlier: Path
) -> None:
    settings = broker.model_copy(update={"data_dir": tmp_path})
    unpack(earlier, settings.checkpoint_dir)
    write(settings, facts_before())
    write(settings, facts_after())
    run_once(spark, settings, posts_with_counts)
    told = [json.loads(row.value) for row in read_records(spark, settings, POSTS_WITH_COUNTS).collect() if row.value]
    everything = [*facts_before(), *facts_after()]
    expected = reference.posts_with_counts(everything)
    touched = {fact["post_id"] for fact in facts_after()} & set(expected)
    assert {post["post_id"]: reference.Post.of(post) for post in told} == {
        post_id: expected[post_id] for post_id in touched
    }
    records = Counter(fact["post_id"] for fact in everything)
    assert {post["post_id"]: post["version"] for post in told} == {post_id: records[post_id] for post_id in touched}

"""Offsets mean nothing in a topic that was deleted and made again, whatever it holds by now."""

import json
from pathlib import Path

import pytest

from jobs.checkpoints import TOPICS, refuse_other_topics

BEFORE = {"posts": "A", "likes": "B"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One from which a batch was done, which ended at likes 7."""
    for log, said in (("commits", ""), ("offsets", 'v1\n{}\n{"likes":{"0":7}}\n0')):
        (tmp_path / log).mkdir()
        (tmp_path / log / "0").write_text(said)
    return tmp_path


def test_a_checkpoint_notes_the_ids_of_its_topics_and_goes_on_with_the_same(checkpoint: Path) -> None:
    refuse_other_topics(checkpoint, BEFORE, {})
    refuse_other_topics(checkpoint, BEFORE, {})
    assert json.loads((checkpoint / TOPICS).read_text()) == BEFORE


def test_a_topic_that_was_made_again_is_refused_and_named(checkpoint: Path) -> None:
    refuse_other_topics(checkpoint, BEFORE, {})
    for _ in range(2):  # refusing notes nothing
        with pytest.raises(SystemExit, match=rf"{checkpoint} has read another topic likes than this one"):
            refuse_other_topics(checkpoint, {"posts": "A", "likes": "C"}, {})


def test_a_topic_that_ends_before_what_was_read_is_refused(checkpoint: Path) -> None:
    refuse_other_topics(checkpoint, BEFORE, {"likes": {0: 7, 1: 0}})
    with pytest.raises(SystemExit, match="has read likes, partition 0, up to 7, which ends at 6"):
        refuse_other_topics(checkpoint, BEFORE, {"likes": {0: 6, 1: 9}})


def test_a_checkpoint_without_the_offsets_of_its_last_batch_is_damaged(checkpoint: Path) -> None:
    (checkpoint / "offsets" / "0").unlink()
    with pytest.raises(SystemExit, match="is damaged: put back"):
        refuse_other_topics(checkpoint, BEFORE, {})


def test_a_topic_of_which_nothing_was_known_is_noted(checkpoint: Path) -> None:
    refuse_other_topics(checkpoint, BEFORE, {})
    refuse_other_topics(checkpoint, {"comments": "D"}, {})
    assert json.loads((checkpoint / TOPICS).read_text()) == {**BEFORE, "comments": "D"}


def test_before_the_first_batch_nothing_was_read(tmp_path: Path) -> None:
    refuse_other_topics(tmp_path, BEFORE, {})
    refuse_other_topics(tmp_path, {"posts": "E"}, {})
    assert json.loads((tmp_path / TOPICS).read_text()) == {"posts": "E"}

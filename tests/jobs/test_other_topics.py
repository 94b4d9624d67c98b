"""Offsets mean nothing in a topic that was deleted and made again, whatever it holds by now."""

import json
from pathlib import Path

import pytest

from jobs.checkpoints import TOPICS, refuse_other_topics

BEFORE = {"posts": "A", "likes": "B"}


def test_a_checkpoint_notes_the_ids_of_its_topics_and_goes_on_with_the_same(tmp_path: Path) -> None:
    refuse_other_topics(tmp_path, BEFORE)
    refuse_other_topics(tmp_path, BEFORE)
    assert json.loads((tmp_path / TOPICS).read_text()) == BEFORE


def test_a_topic_that_was_made_again_is_refused_and_named(tmp_path: Path) -> None:
    refuse_other_topics(tmp_path, BEFORE)
    for _ in range(2):  # refusing notes nothing
        with pytest.raises(SystemExit, match=rf"the topic likes was deleted and made again since {tmp_path}"):
            refuse_other_topics(tmp_path, {"posts": "A", "likes": "C"})


def test_a_topic_of_which_nothing_was_known_is_noted(tmp_path: Path) -> None:
    refuse_other_topics(tmp_path, BEFORE)
    refuse_other_topics(tmp_path, {"comments": "D"})
    assert json.loads((tmp_path / TOPICS).read_text()) == {**BEFORE, "comments": "D"}

"""Which file of a checkpoint is damaged: one that the next start reads."""

from pathlib import Path

from chaos.files import newest_file


def test_state_that_no_batch_has_committed_is_not_worth_damaging(tmp_path: Path) -> None:
    for folder in ("commits", "state/0/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "commits/9").touch()
    for version in ("9_a", "10_b", "11_c"):  # batch 10 was killed
        (tmp_path / f"state/0/1/{version}.changelog").touch()
    assert newest_file(tmp_path, "state").name == "10_b.changelog"
    assert newest_file(tmp_path, "commits") == tmp_path / "commits/9"

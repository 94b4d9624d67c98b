"""What state takes on the disk while a job is at work."""

from pathlib import Path

from bench.usage import Files, files_in


def test_a_file_that_vanishes_while_it_is_looked_at_counts_for_nothing(tmp_path: Path) -> None:
    """A link to nothing is found in its folder, and is not there when it is asked for its size."""
    (tmp_path / "0" / "1").mkdir(parents=True)
    (tmp_path / "0" / "1" / "1.changelog").write_bytes(b"12345")
    (tmp_path / "0" / "1" / ".2.changelog.tmp").symlink_to(tmp_path / "renamed")
    assert files_in(tmp_path) == Files(1, 5)
    assert files_in(tmp_path / "never made") == Files(0, 0)

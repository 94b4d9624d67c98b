"""What a search finds beside those who write; tests/rebuild/test_forget.py says what it sees through."""

from pathlib import Path

from runtime.scan import found_in


def test_a_file_that_was_torn_off_is_told_and_the_search_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 of ada, without its end")
    (tmp_path / "b.zip").write_bytes(b"PK no more")
    (tmp_path / "c").write_text("ada")
    found = [(path.name, what.partition(":")[0]) for path, what in found_in(tmp_path, ["ada"])]
    torn = "cannot be unpacked"
    assert found == [("a.parquet", torn), ("a.parquet", "ada"), ("b.zip", torn), ("c", "ada")]


def test_what_is_renamed_meanwhile_is_found_under_its_new_name_and_what_vanishes_is_no_error(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("it says ada")
    found = found_in(tmp_path, ["ada"])
    assert next(found) == (tmp_path / "a", "ada")
    (tmp_path / "b").rename(tmp_path / "d")
    (tmp_path / "c").unlink()
    assert list(found) == [(tmp_path / "d", "ada")]

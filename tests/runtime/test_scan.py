"""What a search finds beside those who write; tests/rebuild/test_forget.py says what it sees through."""

from pathlib import Path

from runtime.scan import found_in


def test_what_is_renamed_meanwhile_is_found_under_its_new_name_and_what_vanishes_is_no_error(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("it says ada")
    found = found_in(tmp_path, ["ada"])
    assert next(found) == (tmp_path / "a", "ada")
    (tmp_path / "b").rename(tmp_path / "d")
    (tmp_path / "c").unlink()
    assert list(found) == [(tmp_path / "d", "ada")]

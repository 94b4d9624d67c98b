"""The notebooks run from top to bottom on a lake that the jobs' own code wrote, and show what they say."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from notebooks.run import HERE, NAMES, run


def run_on(data_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> NotebookNode:
    monkeypatch.setenv("MSM_DATA_DIR", str(data_dir))
    monkeypatch.setenv("PYTHONWARNINGS", "error::DeprecationWarning:__main__")
    return run(name)


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def said(notebook: NotebookNode) -> str:
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stdout")


def complaints(notebook: NotebookNode) -> str:
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stderr")


def plots(notebook: NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


@pytest.mark.spark
def test_the_lake_is_explored_and_one_post_counted_by_hand_agrees_with_the_job(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = run_on(data_dir, "explore_the_lake", monkeypatch)
    records, are_facts, by_hand, counted = map(int, re.findall(r" (\d+) ", said(notebook)))
    assert records > are_facts  # dead letters of this post are among them
    assert by_hand == counted > 0
    assert plots(notebook) == 3
    assert complaints(notebook) == ""


@pytest.mark.spark
def test_the_published_ranking_is_found_again_in_the_panes(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = run_on(data_dir, "trending", monkeypatch)
    assert "100% of the published places are the same" in said(notebook)
    assert plots(notebook) == 4
    assert complaints(notebook) == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_without_a_lake_says_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CellExecutionError, match="run `make demo`, or set MSM_DATA_DIR"):
        run_on(tmp_path, name, monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_the_same_as_its_text_form_and_carries_no_outputs(name: str) -> None:
    text = jupytext.read(HERE / f"{name}.py")
    paired = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    assert [(cell.cell_type, cell.source) for cell in paired.cells] == [
        (cell.cell_type, cell.source) for cell in text.cells
    ], f"run: jupytext --sync notebooks/{name}.py"
    assert outputs(paired) == []


def test_every_notebook_is_among_those_that_run() -> None:
    assert {path.stem for path in HERE.glob("*.ipynb")} == set(NAMES)

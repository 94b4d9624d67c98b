"""Runs the notebooks on the configured lake and keeps them, with their plots, in `artifacts/notebooks/`.

.venv/bin/python notebooks/run.py
"""

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
NAMES = ("explore_the_lake", "trending")
RESULTS = HERE.parent / "artifacts" / "notebooks"


def run(name: str) -> NotebookNode:
    """The notebook after it ran from top to bottom in its own folder, as Jupyter would run it."""
    notebook = jupytext.read(HERE / f"{name}.py")
    return NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(HERE)}}).execute()


def main() -> None:
    """Run them all; the committed files stay without outputs."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        nbformat.write(run(name), RESULTS / f"{name}.ipynb")
        print(f"{RESULTS / name}.ipynb holds the plots: open it in any editor that shows notebooks")


if __name__ == "__main__":
    main()

"""Reads Spark's checkpoints from outside: whether a query could go on from one, and where it is."""

import json
import re

from conf.store import Place
from jobs.checkpoints import begun_batch


def unreadable(checkpoint: Place) -> str:
    """What is wrong with it; empty where Spark could go on from it, or begin."""
    newest = begun_batch(checkpoint)
    try:
        json.loads((checkpoint / "metadata").read_text())["id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Before its query has begun a checkpoint has the job's own notes only.
        is_new = newest < 0 and isinstance(error, FileNotFoundError)
        return "" if is_new else "its file metadata is missing or damaged"
    if newest < 0:
        return ""
    try:
        _parse_offsets((checkpoint / "offsets" / str(newest)).read_text())
    except (OSError, ValueError):
        return f"its file offsets/{newest} is damaged"
    return ""


def _parse_offsets(text: str) -> None:
    """ValueError where it is not Spark's form: a version, then a line of JSON each for the batch and each source."""
    head, *lines = text.splitlines()
    if not re.fullmatch(r"v\d+", head) or len(lines) < 2:
        raise ValueError("not an offset log")
    for line in lines:
        if line != "-":  # a source that gave nothing yet
            json.loads(line)


def last_batch(checkpoint: Place) -> str:
    """Which batch was planned last."""
    newest = begun_batch(checkpoint)
    return "no batch yet" if newest < 0 else f"readable, batch {newest}"

"""Where the newest result of the auditor is kept."""

from pathlib import Path

from conf.settings import Settings


def result_path(settings: Settings) -> Path:
    """A JSON file that is replaced as a whole."""
    return settings.data_dir / "audit" / "latest.json"

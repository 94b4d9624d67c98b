"""Settings, and where things are. This file needs nothing but Python: set-up reads it first."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]

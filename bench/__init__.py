"""Measures what the engine costs, and how fast it is, beside a floor that is measured in the same run."""

"""Faults on purpose: kills, pauses, full disks and torn files, each followed by an audit."""

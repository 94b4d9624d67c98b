"""Which faults, in which order: decided by the seed alone."""

import random
from collections.abc import Sequence

from chaos.faults import FAULTS

SHORT = (
    "kill after Kafka, before the commit",
    "kill after the Delta write, before the commit",
    "kill broker",
)


def schedule(seed: int, short: bool = False, only: Sequence[str] = ()) -> list[str]:
    """Names of faults, each once; `only` names them itself. SystemExit with the names where one is not known."""
    unknown = [name for name in only if name not in FAULTS]
    if unknown:
        raise SystemExit("\n  ".join([f"no fault is called {unknown[0]!r}; there are:", *map(repr, FAULTS)]))
    names = list(only or (SHORT if short else FAULTS))
    random.Random(seed).shuffle(names)
    return names


def chance(seed: int, name: str) -> random.Random:
    """What decides within a fault; whatever was done before it."""
    return random.Random(f"{seed} {name}")

"""What a fault is: it is inflicted on a stack, says what it did, and leaves the stack to heal."""

from collections.abc import Callable
from dataclasses import dataclass

from chaos.ground import Ground


class NotReachedError(Exception):
    """A named point was not hit, so that nothing is known of it."""


class SkippedError(Exception):
    """The fault cannot be inflicted here."""


@dataclass(frozen=True)
class Done:
    """What was done; and `sentence`, what a person was told to do about it, which `remedy` does."""

    what: str
    sentence: str = ""
    remedy: Callable[[], None] | None = None


Inflict = Callable[[Ground], Done]

"""What a line tells of a far machine, to whom."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol


class Condition(StrEnum):
    """What is known of a far machine."""

    CONNECTING = "connecting"
    UP = "up"
    # Silent, and not long enough to do anything about it.
    SUSPECT = "suspect"
    # Silent for long, or not to be reached.
    DOWN = "down"
    # It answers and cannot be used: a host key, a login, a Python that is missing.
    REFUSED = "refused"


class Ears(Protocol):
    """Who listens to a line; called in the line's thread, and may not block."""

    def hello(self) -> dict[str, Any]:
        """The frame that opens a channel."""

    def up(self, answer: Mapping[str, Any]) -> None:
        """The far side has answered it."""

    def heard(self, header: dict[str, Any], payload: bytes) -> None:
        """A frame has come that is no answer to hello or ping."""

    def condition(self, condition: Condition, why: str) -> None:
        """The machine's condition has changed; `why` is a clause that follows its name."""

    def feed(self) -> bytes | None:
        """More to send when the channel has room; None where there is nothing."""

    def waits(self) -> bool:
        """Whether something has been asked that is not answered: a channel is not closed before it is."""

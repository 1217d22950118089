"""Where `Blocks` writes content blocks: the interface that the event stream and the unary message implement.

Knows: the seven things that can happen to a reply's blocks. Must not know: the order of blocks, upstreams.
Invariants: `Blocks` opens one block at a time and closes it before the next. All calls but `start` and `pass_event` are
about the open block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from a2py.messages.raw import RawMessage

if TYPE_CHECKING:
    from a2py.errors import ApiError
    from a2py.messages.items import Item
    from a2py.messages.types import JSON


class Output(ABC):
    """A reply that is being written.

    `problem`: why it can't be completed. Nothing more is written then. `raw`: the message of an upstream that speaks
    Anthropic. `frame`: the bytes that `add_json` writes before and after a string; None if it does not write bytes."""

    __slots__ = ("frame", "problem", "raw")

    def __init__(self) -> None:
        self.problem: ApiError | None = None
        self.raw = RawMessage()
        self.frame: tuple[bytes, bytes] | None = None

    @abstractmethod
    def start(self, index: int, item: Item) -> None:
        """Open the block of `item`. `index`: its place in the message, from 0."""

    @abstractmethod
    def add_text(self, text: str) -> None:
        """Add to the block's text, thinking, or tool input (JSON text)."""

    @abstractmethod
    def add_json(self, raw: bytes) -> None:
        """The same, with text that is the inside of a JSON string: escaped UTF-8 without quotes."""

    @abstractmethod
    def sign(self, signature: str) -> None:
        """Set the signature of the thinking block."""

    @abstractmethod
    def cite(self, citation: JSON) -> None:
        """Add a citation to the text block."""

    @abstractmethod
    def stop(self) -> None:
        """Close the block."""

    @abstractmethod
    def pass_event(self, type: str, event: JSON, data: bytes) -> None:
        """Take a whole Anthropic event (`Sink.raw`) with its index and ids as the client shall see them. `data`: its
        JSON, b"" if it must be written anew."""

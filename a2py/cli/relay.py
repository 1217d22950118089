"""The parent's part in the messages between workers: each envelope goes on to those that it is for.

Knows: who can be reached, envelopes (proxy/bus.py). Must not know: what a message means.
Invariants: a worker that reads slowly costs only the messages to itself, at most control.MAX_MAIL bytes of memory, and
one line of the log in its life. A worker gets mail only after it has joined. What is no envelope, or of an unknown
kind, is dropped.
"""

from __future__ import annotations

from collections.abc import Callable

from a2py.cli.control import Link
from a2py.proxy import bus

_RELAY_KINDS = (bus.PUBLISH, bus.QUESTION, bus.ANSWER, bus.DECLINE)


class Relay:
    """`say`: print one line for a person; `members`: the workers that can be reached."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.members: dict[int, Link] = {}
        self._say = say
        self._slow: set[int] = set()

    def carry(self, sender: int, link: Link, data: bytes) -> None:
        """Pass on what worker `sender` has sent over `link`."""
        envelope = bus.unpack(data)
        if envelope is None:
            return
        if envelope.kind == bus.JOIN:
            self.members[sender] = link
            self._announce()
        elif envelope.kind in _RELAY_KINDS and sender in self.members:
            recipients = self.members if envelope.worker == bus.EVERYBODY else (envelope.worker,)
            data = bus.readdress(data, sender)
            for number in recipients:
                if number != sender and number in self.members:
                    self._post(number, data)

    def leave(self, number: int) -> None:
        """Forget a worker that has ended."""
        self._slow.discard(number)
        if self.members.pop(number, None) is not None:
            self._announce()

    def _announce(self) -> None:
        members = bus.encode_members(sorted(self.members))
        for number in self.members:
            self._post(number, members)

    def _post(self, number: int, data: bytes) -> None:
        if not self.members[number].post(data) and number not in self._slow:
            self._slow.add(number)
            self._say(f"worker {number} reads too slowly: messages from other workers to it are dropped")

"""The latest turns of each session, by which the log can say why an upstream's cache lost a conversation.

A session has several conversations: the main one, those of its sub-agents, and helper calls with a system prompt of
their own. A request belongs to the conversation with the same first message; a request whose first message is new, but
whose system prompt and tools are not, continues a conversation whose history was rewritten (a compaction), unless it
has only its first turn.

Knows: sessions, turns, how many of each are kept. Must not know: what a loss is (evidence/cache.py), HTTP.
Invariants: at most MAX_SESSIONS sessions with at most MAX_TURNS turns each, numbers only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from a2py.evidence.cache import Turn, list_losses
from a2py.messages.fingerprint import Fingerprint
from a2py.messages.types import Usage

#: Sessions of which turns are kept, the least recently used goes first; conversations of each.
MAX_SESSIONS, MAX_TURNS = 1024, 8


class CacheHealth:
    """`clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._sessions: OrderedDict[str, list[Turn]] = (
            OrderedDict()
        )  # the latest turn of each conversation, newest first

    def note(
        self, session: str, fingerprint: Fingerprint, start: float, deployment: str, usage: Usage
    ) -> tuple[int, tuple[str, ...]]:
        """Keep a turn that `deployment` has answered. Return its number, and why the cache lost the conversation, () if
        it did not. `start`: when the request came, by the clock."""
        turns = self._sessions.pop(session, [])
        before = _find_turn(turns, fingerprint)
        count = len(fingerprint.messages)
        now = Turn(
            number=before.number + 1 if before is not None else fingerprint.turn,
            deployment=deployment,
            end=self.clock(),
            system=fingerprint.system,
            tools=fingerprint.tools,
            first=fingerprint.first,
            messages=count,
            history=fingerprint.prefix(count),
            cached=usage.cache_read + usage.cache_creation,
        )
        losses: tuple[str, ...] = ()
        if before is not None:
            turns.remove(before)
            prefix = fingerprint.prefix(before.messages)
            losses = list_losses(before, now, prefix, usage.cache_read, start - before.end)
        self._sessions[session] = [now, *turns[: MAX_TURNS - 1]]
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return now.number, losses

    @property
    def sessions(self) -> int:
        """How many sessions are kept."""
        return len(self._sessions)


def _find_turn(turns: list[Turn], fingerprint: Fingerprint) -> Turn | None:
    """Return the latest turn of the conversation that the request continues, None if it begins one."""
    for turn in turns:
        if turn.first == fingerprint.first:
            return turn
    if len(fingerprint.messages) < 2:
        return None
    system, tools = fingerprint.system, fingerprint.tools
    return next((turn for turn in turns if (turn.system, turn.tools) == (system, tools)), None)

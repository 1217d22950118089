"""The latest turns of each session: which conversation a request continues, and that few are kept."""

from __future__ import annotations

from a2py.messages.fingerprint import Fingerprint
from a2py.messages.types import Usage
from a2py.proxy.cachehealth import MAX_SESSIONS, MAX_TURNS, CacheHealth
from tests.clock import Clock


class Session:
    """One session. `ask` returns the turn's number and why its cache was lost."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.health = CacheHealth(self.clock)

    def ask(
        self, *messages: int, cached: int = 1000, system: int = 1, tools: int = 2, at: str = "a", session: str = "s"
    ) -> tuple[int, tuple[str, ...]]:
        prompt = Fingerprint(system, tools, messages, 1 + len(messages) // 2)
        return self.health.note(session, prompt, self.clock.now, at, Usage(input=9, cache_read=cached))


def test_a_conversation_whose_cache_holds() -> None:
    asked = Session()
    assert [asked.ask(*range(2 * n + 1), cached=100 * n) for n in range(5)] == [(n + 1, ()) for n in range(5)]


def test_the_turn_and_the_reason() -> None:
    asked = Session()
    for n in range(11):
        asked.ask(*range(2 * n + 1))
    assert asked.ask(*range(23), cached=0, tools=9) == (12, ("the tool list changed",))
    assert asked.ask(*range(25), cached=0, tools=9) == (13, ()), "it is lost once"
    asked.ask(*range(27), tools=9)
    asked.clock.now += 301
    assert asked.ask(*range(29), cached=0, tools=9, at="b") == (15, ("another deployment", "older than 5 minutes"))


def test_helpers_and_sub_agents_have_conversations_of_their_own() -> None:
    asked = Session()
    asked.ask(1, 2, 3)
    assert asked.ask(50, cached=0, system=7, tools=8) == (1, ()), "a sub-agent"
    assert asked.ask(60, cached=0) == (1, ()), "a new conversation with the same system prompt"
    assert asked.ask(1, 2, 3, 4, 5) == (3, ())
    assert asked.ask(50, 51, 52, cached=900, system=7, tools=8) == (2, ())


def test_a_history_that_was_rewritten() -> None:
    asked = Session()
    asked.ask(1, 2, 3)
    assert asked.ask(9, 2, 3, cached=200) == (3, ("the history changed",))


def test_a_proxy_that_was_restarted_counts_the_turns_of_the_history() -> None:
    assert Session().ask(*range(7)) == (4, ())


def test_what_the_upstream_wrote_into_its_cache_is_cached() -> None:
    asked = Session()
    asked.health.note("s", Fingerprint(1, 2, (1,)), 0.0, "a", Usage(cache_creation=500))
    assert asked.ask(1, 2, 3, cached=0)[1] == ("the upstream dropped it",)


def test_few_are_kept() -> None:
    asked = Session()
    for n in range(MAX_SESSIONS + 50):
        asked.ask(1, session=f"s{n}")
    for n in range(MAX_TURNS + 50):
        asked.ask(n, system=n, session="last")
    assert asked.health.sessions == MAX_SESSIONS and len(asked.health._sessions["last"]) == MAX_TURNS
    assert "s0" not in asked.health._sessions

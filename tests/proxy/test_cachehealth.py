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
    session = Session()
    assert [session.ask(*range(2 * n + 1), cached=100 * n) for n in range(5)] == [(n + 1, ()) for n in range(5)]


def test_the_turn_and_the_reason() -> None:
    session = Session()
    for n in range(11):
        session.ask(*range(2 * n + 1))
    assert session.ask(*range(23), cached=0, tools=9) == (12, ("the tool list changed",))
    assert session.ask(*range(25), cached=0, tools=9) == (13, ()), "it is lost once"
    session.ask(*range(27), tools=9)
    session.clock.now += 301
    assert session.ask(*range(29), cached=0, tools=9, at="b") == (15, ("another deployment", "older than 5 minutes"))


def test_helpers_and_sub_agents_have_conversations_of_their_own() -> None:
    session = Session()
    session.ask(1, 2, 3)
    assert session.ask(50, cached=0, system=7, tools=8) == (1, ()), "a sub-agent"
    assert session.ask(60, cached=0) == (1, ()), "a new conversation with the same system prompt"
    assert session.ask(1, 2, 3, 4, 5) == (3, ())
    assert session.ask(50, 51, 52, cached=900, system=7, tools=8) == (2, ())


def test_a_history_that_was_rewritten() -> None:
    session = Session()
    session.ask(1, 2, 3)
    assert session.ask(9, 2, 3, cached=200) == (3, ("the history changed",))


def test_a_proxy_that_was_restarted_counts_the_turns_of_the_history() -> None:
    assert Session().ask(*range(7)) == (4, ())


def test_what_the_upstream_wrote_into_its_cache_is_cached() -> None:
    session = Session()
    session.health.note("s", Fingerprint(1, 2, (1,)), 0.0, "a", Usage(cache_creation=500))
    assert session.ask(1, 2, 3, cached=0)[1] == ("the upstream dropped it",)


def test_few_are_kept() -> None:
    session = Session()
    for n in range(MAX_SESSIONS + 50):
        session.ask(1, session=f"s{n}")
    for n in range(MAX_TURNS + 50):
        session.ask(n, system=n, session="last")
    assert session.health.sessions == MAX_SESSIONS and len(session.health._sessions["last"]) == MAX_TURNS
    assert "s0" not in session.health._sessions

"""The news over Redis: cooldowns, failures, lessons, how many tokens prompts have, what servers say of themselves.

A process hears what is told from its first beat on. It then says hello, and the first of the others, in the order of
their names, tells it what it knows. A word is that of news.py, or, if it begins with a brace, what a server has said of
itself (evidence/message.py). Both are checked like input from outside: whoever can write to that Redis is not trusted
with more than what a word may change.

Knows: who answers a hello, which servers are configured. Must not know: what a word means, how it travels.
Invariants: what was heard is not told again; a hello is answered at most once in HELLO_SECONDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from a2py.evidence import message
from a2py.evidence.message import ServerReport
from a2py.proxy.discovery import Discovery
from a2py.proxy.news import News
from a2py.shared.store import Store

#: Seconds between two answers to a hello.
HELLO_SECONDS = 1.0


class SharedNews:
    """`bases`: returns the addresses of the configured deployments."""

    def __init__(self, store: Store, news: News, discovery: Discovery, bases: Callable[[], Iterable[str]]) -> None:
        self._store, self._news, self._discovery, self._bases = store, news, discovery, bases
        self._answer_time = 0
        news.tell.append(self._tell)
        news.handlers["hello"] = self._take_hello
        store.news.on_word = self._take
        store.news.on_join = self._greet
        discovery.on_report = self._tell_report

    def _tell(self, words: Iterable[bytes]) -> None:
        for word in words:
            self._store.tell(word)

    def _tell_report(self, report: ServerReport) -> None:
        if "@" not in report.base:  # a login in an address is a secret
            self._store.tell(message.encode(report))

    def _take(self, word: bytes, age: float) -> None:
        if not word.startswith(b"{"):
            self._news.take([word], age)
            return
        report = message.decode(word)
        if report is not None and report.base in set(self._bases()):
            self._discovery.take(report)

    def _greet(self) -> None:
        self._store.tell(orjson.dumps(["hello", self._store.name]))

    def _take_hello(self, parts: list[Any], age: float) -> None:
        """Tell all that is known, if this process is the first of those that were there before."""
        (name,) = parts
        store, now = self._store, self._store.now()
        before = store.mirror.rank - (type(name) is str and name < store.name)
        if before > 0 or now - self._answer_time < HELLO_SECONDS * 1000:
            return
        self._answer_time = now
        self._tell(self._news.snapshot())
        for report in self._discovery.reports.values():
            self._tell_report(report)

"""Bytes that count the work that is done with them, so that a test can tell linear from quadratic without a clock.

Knows: which operations of bytes, bytearrays and patterns cost what. Must not know: who uses them.
Use: `with counting(module): ...` replaces the bytearrays and the patterns of a module; `Bytes(data)` are counted
wherever they go, and what is cut out of them, or added to them, is counted too. `work()` is the number of bytes that
were copied or looked at, and of operations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

_total = 0


def work() -> int:
    return _total


def count(size: int) -> None:
    global _total
    _total += 1 + size


class Bytes(bytes):
    """Bytes that count work: a copy costs its length, a search costs as far as it looked."""

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        count(len(value) if isinstance(value, bytes) else 1)
        return Bytes(value) if isinstance(value, bytes) else value

    def __add__(self, other: Any) -> Any:
        count(len(self) + len(other))
        return Bytes(super().__add__(other))

    def __radd__(self, other: Any) -> Any:
        count(len(self) + len(other))
        return Bytes(other + bytes(self))

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        at = super().find(sub, start, len(self) if end is None else end)
        count((at if at >= 0 else min(len(self), len(self) if end is None else end)) - start)
        return at

    def startswith(self, prefix: Any, *place: Any) -> bool:
        count(len(prefix))
        return super().startswith(prefix, *place)

    def endswith(self, suffix: Any, *place: Any) -> bool:
        count(len(suffix))
        return super().endswith(suffix, *place)


class Array(bytearray):
    """An array that counts work: adding costs the length; removing from the front costs nothing (CPython moves the
    start)."""

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        count(len(other))
        return super().__iadd__(other)

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        count(len(value) if isinstance(value, bytearray) else 1)
        return value

    def __bytes__(self) -> bytes:
        count(len(self))
        return Bytes(super().__getitem__(slice(None)))

    def startswith(self, prefix: Any, *place: Any) -> bool:
        count(len(prefix))
        return super().startswith(prefix, *place)


class Pattern:
    """A pattern that counts how far it has looked: to the end of the match, or to the end of all."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        self._pattern = pattern

    def search(self, data: Any, start: int = 0) -> re.Match[Any] | None:
        match = self._pattern.search(data, start)
        count((match.end() if match else len(data)) - start)
        return match

    def match(self, data: Any, start: int = 0) -> re.Match[Any] | None:
        match = self._pattern.match(data, start)
        count(match.end() - start if match else 0)
        return match

    def fullmatch(self, data: Any) -> re.Match[Any] | None:
        count(len(data))
        return self._pattern.fullmatch(data)


@contextmanager
def counting(module: ModuleType) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "bytearray", Array, raising=False)
        for name, value in list(vars(module).items()):
            if isinstance(value, re.Pattern):
                patch.setattr(module, name, Pattern(value))
        yield

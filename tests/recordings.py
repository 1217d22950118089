"""Access to the recorded upstream bodies and captured client requests, which live beside the repository, not in it.

Knows: where `shared` is (`../shared` from the repository's root, or $A2PY_SHARED) and the shape of its indexes.
Must not know: what a test does with a body. Where the folder is absent, each parametrised test is skipped in one line.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

SHARED = Path(os.environ.get("A2PY_SHARED") or Path(__file__).resolve().parents[2] / "shared")
WIRE = SHARED / "wire"
CLIENTS = SHARED / "clients"


@dataclass(frozen=True, slots=True)
class Recording:
    """`file`: path below wire/; `facts`: text, reasoning, tools, finish, usage, error as FACTS.json has them ({} where
    it has none)."""

    file: str
    provider: str
    api: str
    kind: str
    scenario: str
    status: int
    tags: tuple[str, ...]
    headers: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        return (WIRE / self.file).read_bytes()


@cache
def load() -> tuple[Recording, ...]:
    """All recordings; () where the folder is absent."""
    if not (WIRE / "INDEX.json").is_file():
        return ()
    index = orjson.loads((WIRE / "INDEX.json").read_bytes())["recordings"]
    facts = orjson.loads((WIRE / "FACTS.json").read_bytes())
    return tuple(
        Recording(
            e["file"],
            e["provider"],
            e["api"],
            e["kind"],
            e["scenario"],
            e["status"] or 0,
            tuple(e["tags"]),
            {name.lower(): str(value) for name, value in (e["headers"] or {}).items()},
            facts.get(e["file"], {}),
        )
        for e in index
    )


def recordings(api: str, kind: str) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`: api `chat` or `responses`, kind `stream`, `nonstream` or `error`."""
    parameters = [pytest.param(r, id=r.file) for r in load() if r.api == api and r.kind == kind]
    return parameters or [pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"no recordings in {WIRE}"))]


@dataclass(frozen=True, slots=True)
class Capture:
    """One request of a real client. `body`: parsed JSON."""

    name: str
    path: str
    query: str
    headers: dict[str, str]
    body: dict[str, Any]


@cache
def load_captures() -> tuple[Capture, ...]:
    """The captured Messages requests (count_tokens too); () where the folder is absent."""
    out = []
    for file in sorted(CLIENTS.glob("*.json")):
        capture = orjson.loads(file.read_bytes())
        if isinstance(capture.get("body"), dict) and "/messages" in capture.get("path", ""):
            headers = {name.lower(): value for name, value in capture["headers"]}
            out.append(Capture(file.stem, capture["path"], capture["query"], headers, capture["body"]))
    return tuple(out)


def captures(*, counting: bool = False) -> list[Any]:
    """Parameters: the captured requests to /v1/messages, or with `counting` those to count_tokens."""
    parameters = [pytest.param(c, id=c.name) for c in load_captures() if ("count_tokens" in c.path) is counting]
    return parameters or [
        pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"no captured requests in {CLIENTS}"))
    ]

"""What is counted: subjects with limits, and what one attempt asks of them.

Knows: plain values. Must not know: Redis, deployments, who asks.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

RPM, TPM, PARALLEL = "rpm", "tpm", "max_parallel"


class Subject(NamedTuple):
    """Something with limits: a deployment, a name, a server, a client's key. 0: no limit.

    `id`: a digest (`make_id`), because it is stored under it."""

    id: str
    rpm: int = 0
    tpm: int = 0
    parallel: int = 0


class Ask(NamedTuple):
    """What one attempt counts for at `subject`: a request, and these tokens (0 without `tpm`)."""

    subject: Subject
    input: int = 0
    output: int = 0


#: All that one attempt at one deployment asks.
Asks = tuple[Ask, ...]


class Refusal(NamedTuple):
    """Why there is no room: the `limit` (RPM, TPM or PARALLEL) of `ask`, for `seconds` (0: until a running attempt
    ends; infinite: for ever)."""

    ask: Ask
    limit: str
    seconds: float


def make_id(kind: str, *parts: str) -> str:
    """Return the id of a subject: a digest that two processes with the same configuration agree on. `parts`: no
    secrets."""
    return kind + sha256("\0".join((kind, *parts)).encode("utf-8", "surrogateescape")).hexdigest()[:20]

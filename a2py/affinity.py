"""Choose the deployment that a session stays with, without remembering any session.

An upstream caches the beginning of a prompt. The next turn of a conversation finds it only at the deployment that
answered the turn before. Weighted rendezvous hashing gives each session its deployment: every deployment gets a score
from a digest of session and deployment, and the highest score wins.

    u     a number between 0 and 1, from the digest of session and deployment
    score -weight / ln(u)

A deployment wins in proportion to its weight. If one is lost, the scores of the others stay as they are, so only its
own sessions move. If one is added, only the sessions that it wins move. (Weighted rendezvous hashing: J. Resch, "New
hashing algorithms for data storage", SNIA SDC 2015.)

Knows: deployments and their weights. Must not know: which of them may be asked, what a session is.
Invariants: a function of its arguments alone: all processes, restarts and versions of Python agree. It does not depend
on the order of the deployments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

from a2py.deployment import Deployment


def choose_home(session: str, deployments: Sequence[Deployment]) -> Deployment:
    """Return the one of `deployments` that `session` stays with. A weight of 0 gets no session unless all are 0."""
    if len(deployments) == 1:
        return deployments[0]
    candidates = [one for one in deployments if one.weight > 0]
    if not candidates:
        return min(deployments, key=lambda one: (-math.log(draw(session, one.seat or one.id)), one.id))
    # The lowest of 1 / score: a weight may be so large that the score itself is infinite.
    return min(candidates, key=lambda one: (-math.log(draw(session, one.seat or one.id)) / one.weight, one.id))


def draw(session: str, seat: str) -> float:
    """Return a number between 0 and 1, never one of these, that is the same for the same session and seat."""
    text = f"{len(session)}:{session}{seat}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 12
    return (number + 0.5) / (1 << 52)  # 52 bits and a half: exact as a float, so that 1.0 cannot come out

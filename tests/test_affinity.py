"""The deployment of a session: shares by weight, nothing moves without need, the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from a2py.affinity import choose_home, draw
from a2py.deployment import Deployment

SESSIONS = [f"session-{n}" for n in range(30_000)]


def dep(id: str, weight: float = 1.0, seat: str = "") -> Deployment:
    return Deployment(name="m", id=id, provider="p", model="u", base="http://x", weight=weight, seat=seat)


def homes(deployments: list[Deployment]) -> dict[str, str]:
    return {session: choose_home(session, deployments).id for session in SESSIONS}


@pytest.mark.parametrize(
    "weights", [(1, 1, 1), (3, 1), (5, 3, 2), (10, 1, 0.5), (600, 200, 200), (1e308, 1e308), (1, 0)]
)
def test_sessions_are_shared_by_weight(weights: tuple[float, ...]) -> None:
    """Within 2 % of all sessions."""
    deployments = [dep(f"d{n}", weight) for n, weight in enumerate(weights)]
    shares = Counter(homes(deployments).values())
    total = sum(weight / max(weights) for weight in weights)
    for one in deployments:
        assert abs(shares[one.id] / len(SESSIONS) - one.weight / max(weights) / total) < 0.02


def test_weights_of_zero_are_shared_equally() -> None:
    shares = Counter(homes([dep("a", 0), dep("b", 0)]).values())
    assert abs(shares["a"] / len(SESSIONS) - 0.5) < 0.02


def test_a_lost_deployment_moves_only_its_own_sessions() -> None:
    deployments = [dep("a", 2), dep("b", 1), dep("c", 1)]
    before, after = homes(deployments), homes(deployments[:1] + deployments[2:])
    movers = {session for session in SESSIONS if before[session] != after[session]}
    assert movers == {session for session in SESSIONS if before[session] == "b"} and movers
    shares = Counter(after[session] for session in movers)
    assert abs(shares["a"] / len(movers) - 2 / 3) < 0.02, "and they are shared by weight, too"


def test_the_order_of_the_deployments_counts_for_nothing() -> None:
    deployments = [dep("a", 2), dep("b", 1), dep("c", 1)]
    assert homes(deployments) == homes(deployments[::-1])


def test_a_seat_outlives_a_change_of_the_id() -> None:
    """`openai/gpt#2` becomes `openai/gpt` if the entry before it is removed from the file."""
    before = [dep("m", seat="x"), dep("m#2", seat="y"), dep("m#3", seat="z")]
    after = [dep("m", seat="y"), dep("m#2", seat="z")]
    for session in SESSIONS[:1000]:
        home = choose_home(session, before).seat
        assert choose_home(session, after).seat == home or home == "x"


def test_the_same_in_every_process_and_version() -> None:
    """Known numbers: if they change, every session moves at an upgrade."""
    assert round(draw("session-1", "a"), 12) == 0.866084457015
    assert [choose_home(session, [dep("a"), dep("b"), dep("c")]).id for session in SESSIONS[:8]] == list("cbaccacb")
    code = "from a2py.affinity import draw; print(repr(draw('session-1', 'a')))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("0", "1")
    }
    assert outputs == {f"{draw('session-1', 'a')!r}\n"}


def test_any_text_is_a_session() -> None:
    assert 0 < draw("\ud83d", "a") < 1 and draw("ab", "c") != draw("a", "bc")
    assert choose_home("", [dep("a")]).id == "a"

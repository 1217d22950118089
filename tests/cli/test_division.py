"""The warning of workers that divide limits."""

from __future__ import annotations

from typing import Any

from a2py.cli.division import describe_division
from a2py.config import Config, Settings
from a2py.deployment import Deployment

BEGIN = "each of 4 workers uses its part of every limit, because they have no common count"


def dep(id: str, **more: Any) -> Deployment:
    return Deployment(name="m", id=id, provider="p", model="u", base="http://x", **more)


def test_nothing_limited_nothing_said() -> None:
    assert describe_division(Config(deployments=(dep("a"),)), 4) == ""


def test_a_limit_and_its_parts() -> None:
    config = Config(deployments=(dep("a", rpm=10), dep("b", tpm=4000)))
    assert describe_division(config, 4) == f"{BEGIN} (rpm 10 of a: 3, 3, 2, 2). See docs/scale.md"
    assert "(rpm 10 of a: 2, 1, 1, 1, 1, 1, 1, 1, …)" in describe_division(config, 9)


def test_limits_that_are_too_small() -> None:
    small = [dep(f"d{n}", max_parallel=1, name_parallel=2) for n in range(4)]
    config = Config(deployments=tuple(small), settings=Settings(global_max_parallel_requests=3))
    assert describe_division(config, 4) == (
        f"{BEGIN}; too small for that, so that each worker uses 1 and all together 4: global_max_parallel_requests 3 of"
        " the proxy, max_parallel_requests 1 of d0, a2py: max_parallel_requests 2 of m and 3 more. See docs/scale.md"
    )

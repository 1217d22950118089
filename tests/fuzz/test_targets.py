"""The fuzz targets (tests/fuzz) over a part of their own corpus: they hold, and they do not rot between two runs of
`make fuzz`."""

from __future__ import annotations

import pytest

from tests.fuzz import surface
from tests.fuzz.targets import TARGETS

#: Seeds that are run of each target; `make fuzz` begins with all.
SAMPLE = 40


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    for seed in seeds[:: len(seeds) // SAMPLE + 1]:
        target.run(seed)
    target.run(b"")
    target.run(b"\x00" * 5)


def test_what_the_surface_sees() -> None:
    """The checks can fail."""
    good = b"HTTP/1.1 200 OK\r\nrequest-id: req_1\r\ncontent-length: 2\r\n\r\n{}"
    assert surface.check(good * 2) == [200, 200]
    for bad in (
        good[:-1],
        good.replace(b"req_", b"x"),
        good.replace(b"request", b"x-evil: 1\r\nrequest"),
        good + b"x",
        good.replace(b"200", b"400"),
    ):
        with pytest.raises((AssertionError, KeyError)):
            surface.check(bad)
    with pytest.raises(AssertionError):
        surface.same_requests(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", [(b"GET", b"/b")])
    inner = b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(inner), inner)
    surface.same_requests(data, [(b"POST", b"/")])
    with pytest.raises(AssertionError):
        surface.same_requests(data[:-1], [(b"POST", b"/"), (b"GET", b"/b")])
    with pytest.raises(AssertionError):
        surface.same_requests(data + b"GET /c HTTP/1.1\r\nHost: x\r\n\r\n", [(b"POST", b"/"), (b"GET", b"/b")])

"""The flags of a restart: those of the last start, unless new ones replace them."""

from __future__ import annotations

import pytest

from a2py.cli.daemon import parser
from a2py.cli.lastflags import has_source, merge_flags


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("--demo --port 4000", "--port 4001", "--demo --port 4001"),
        ("--demo -p4000 --insecure", "--port=4001", "--demo --insecure --port=4001"),
        ("--config a.yaml --port 1", "--num_workers 2", "--config /old/a.yaml --port 1 --num-workers 2"),
        ("--config=a.yaml", "-p 1", "--config=/old/a.yaml -p 1"),
        ("-ca.yaml", "-p 1", "-c /old/a.yaml -p 1"),
        ("-c /a.yaml --capture d", "--capture e", "-c /a.yaml --capture /new/e"),
        ("-m openai/x --api-base http://h/v1 --port 1", "--config b.yaml", "--port 1 --config /new/b.yaml"),
        ("--config a.yaml", "--demo", "--demo"),
        ("--log-format json", "--host ::1", "--log-format json --host ::1"),
    ],
)
def test_new_flags_replace_their_own_kind(old: str, new: str, expected: str) -> None:
    reader = parser("restart")
    flags = merge_flags(reader, (old.split(), "/old"), (new.split(), "/new"))
    assert flags == expected.split()
    reader.read(flags)


def test_which_flags_say_what_is_served() -> None:
    reader = parser("restart")
    assert (
        has_source(reader, ["-p1", "--demo"])
        and has_source(reader, ["-cx"])
        and not has_source(reader, ["--port", "1"])
    )

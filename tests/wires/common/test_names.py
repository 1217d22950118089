"""Names of tools that an upstream accepts."""

from __future__ import annotations

from a2py.wires.common.names import Names


def test_names_are_a_function_of_the_name() -> None:
    names = Names()
    assert names.sent("plain-1_x") == "plain-1_x"
    short = names.sent("a.b")
    assert (short, names.back) == (Names().sent("a.b"), {short: "a.b"})
    assert names.sent("") == "_e3b0c442"
    assert names.sent("a/b") != short

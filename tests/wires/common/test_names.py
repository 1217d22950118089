"""Names of tools that an upstream accepts."""

from __future__ import annotations

from a2py.wires.common.names import Names


def test_names_are_a_function_of_the_name() -> None:
    names = Names()
    assert names.to_upstream("plain-1_x") == "plain-1_x"
    short = names.to_upstream("a.b")
    assert (short, names.back) == (Names().to_upstream("a.b"), {short: "a.b"})
    assert names.to_upstream("") == "_e3b0c442"
    assert names.to_upstream("a/b") != short

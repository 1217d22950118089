"""What became of a client's request on its way upstream: what was renamed, dropped, added or changed, and why."""

from a2py.wires.changes.change import Change, Question
from a2py.wires.changes.find import find_changes

__all__ = ["Change", "Question", "find_changes"]

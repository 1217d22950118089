"""Files of certificates that a configuration names: whether they can be read, so that a start says it and not each
request.

Knows: PEM files. Must not know: which key names one, TLS.
Invariants: nothing here raises OSError; no message shows a path, which may come from a variable; only regular files are
opened, because a pipe or a device could block.
"""

from __future__ import annotations

import os
import stat

from a2py.config.tree import Node
from a2py.config.values import fail, switch_or_path

FILE_CURE = "Write the path of a PEM file."
CURE = "Write the path of a PEM file, or of a folder of them."
#: Largest file to look into. The system's own bundles have 250 kB.
MAX_BYTES = 8 << 20


def find_file_problem(path: str, *, may_be_folder: bool = True) -> str:
    """Return what is wrong with a file, or a folder, of certificates or keys; "" for nothing."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return "" if may_be_folder else "names a folder"
        if not stat.S_ISREG(mode):
            return "names something that is neither a file nor a folder"
        with open(path, "rb") as file:
            has_marker = b"-----BEGIN " in file.read(MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else ""
        return f"names a file that cannot be read: {reason or type(error).__name__}"
    return "" if has_marker else "names a file without a PEM block (-----BEGIN …)"


def verify(node: Node, path: str) -> bool | str:
    """Parse `ssl_verify` of all models: true, false, or the path of CA certificates that can be read."""
    value = switch_or_path(node, path)
    problem = find_file_problem(value) if isinstance(value, str) else ""
    if problem:
        raise fail(node.at, path, problem, CURE)
    return value

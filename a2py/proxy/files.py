"""File descriptors: as many as the system lets this process have, and the connections that fit into them.

Knows: RLIMIT_NOFILE, where there is one (POSIX). Must not know: what the descriptors are for.

Why: the usual soft limit is 1,024 (macOS: 256), for programs that still use `select`. Once it is reached, asyncio (CPython 3.11) logs a traceback
for each connection that it can't accept, up to its backlog of 1,024 at every turn; upstreams can't be connected to, modules can't be loaded.
"""

from __future__ import annotations

import sys

#: As many as are asked for, of a system that has no limit; what macOS gives at most.
MOST, MACOS = 65_536, 10_240
#: Descriptors that are none of a connection's: standard streams, the loop, listening sockets, a log, a capture, name look-ups.
OTHERS = 64
#: Descriptors of one connection: its own, its upstream's, and that of one more that is being refused.
EACH = 3


def raise_limit() -> None:
    """The soft limit becomes the hard one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (MOST, MACOS):
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
        except (OSError, ValueError):
            continue


def limit() -> int:
    """Descriptors that this process may have; 0: any number."""
    if sys.platform == "win32":
        return 0
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if soft == resource.RLIM_INFINITY else soft


def fitting(connections: int) -> int:
    """`connections`, or as many as the limit has room for."""
    most = limit()
    return min(connections, max(1, (most - OTHERS) // EACH)) if most else connections

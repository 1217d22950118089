"""Sockets that are there already, and sockets for several processes.

Knows: systemd's LISTEN_FDS (sd_listen_fds(3)), SO_REUSEPORT. Must not know: what is served on them.
Invariants: a socket that this module opens listens from the start and may be inherited; on Linux each worker has one of its own on the same
port (the kernel spreads connections, and keeps those of a worker that has died for its successor), elsewhere all share one.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

#: First descriptor of systemd's.
FIRST = 3
BACKLOG = 1024
#: Descriptors of listening sockets that a parent process of ours hands on, by comma.
VARIABLE = "A2PY_LISTEN"


def inherited(env: Mapping[str, str], pid: int) -> list[socket.socket]:
    """The listening sockets that systemd or a parent of ours passed to this process."""
    if env.get(VARIABLE):
        numbers = [int(number) for number in env[VARIABLE].split(",")]
    elif env.get("LISTEN_PID") == str(pid) and env.get("LISTEN_FDS", "").isdigit():
        numbers = list(range(FIRST, FIRST + int(env["LISTEN_FDS"])))
    else:
        return []
    return [_socket(number) for number in numbers]


def _socket(number: int) -> socket.socket:
    made = socket.socket(fileno=number)
    made.setblocking(False)
    os.set_inheritable(number, False)
    return made


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets on one port (0: a free one); one where the system can't spread connections over several. OSError as of bind."""
    info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    spread = sys.platform == "linux" and count > 1
    made: list[socket.socket] = []
    try:
        for _ in range(count if spread else 1):
            one = socket.socket(info[0], info[1])
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if spread:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if info[0] == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            address = info[4] if made[0] is one else (info[4][0], made[0].getsockname()[1], *info[4][2:])
            one.bind(address)
            one.listen(BACKLOG)
            one.set_inheritable(True)
    except OSError:
        for one in made:
            one.close()
        raise
    return made

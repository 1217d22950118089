"""Sockets that are there already, and sockets for several processes.

Knows: systemd's LISTEN_FDS (sd_listen_fds(3)), SO_REUSEPORT. Must not know: what is served on them.
Invariants: a socket that this module opens listens from the start and may be inherited; on Linux each worker has one of its own on the same
port (the kernel spreads connections, and keeps those of a worker that has died for its successor), elsewhere all share one; every socket is
some worker's, or its connections would wait for ever.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping, Sequence

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


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    """Families and addresses that `host` means; OSError as of getaddrinfo."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(info[0]), info[4]) for info in found))


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets for each address of `host` on one port (0: a free one); one each where the system can't spread connections.
    OSError as of bind."""
    spread = sys.platform == "linux" and count > 1
    made: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            for _ in range(count if spread else 1):
                try:
                    one = socket.socket(family, socket.SOCK_STREAM)
                    made.append(one)
                    if os.name == "posix":
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if spread:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    if family == socket.AF_INET6:
                        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    one.bind((address[0], port or (made[0].getsockname()[1] if made[0] is not one else 0), *address[2:]))
                except OSError as error:
                    if made[:-1] and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                        made.pop().close()  # "localhost" where one of both families is switched off
                        continue
                    raise
                one.listen(BACKLOG)
                one.set_inheritable(True)
    except OSError:
        for one in made:
            one.close()
        raise
    return made


def fit(sockets: Sequence[socket.socket], host: str, port: int) -> bool:
    """Whether these are the sockets that `bind` would open, whatever their number."""
    try:
        wanted = {(family, address[0], port) for family, address in _addresses(host, port)}
    except OSError:
        return False
    return {(int(sock.family), sock.getsockname()[0], port and sock.getsockname()[1]) for sock in sockets if not local(sock)} == wanted


def local(sock: socket.socket) -> bool:
    """A Unix socket: who may connect is a matter of its file's permissions."""
    return sock.family == getattr(socket, "AF_UNIX", None)


def host(sock: socket.socket) -> str:
    """The address that a TCP socket listens on."""
    return str(sock.getsockname()[0])


def shares(sockets: Sequence[socket.socket], count: int) -> list[list[socket.socket]]:
    """Which sockets each of `count` workers accepts from: of each address at least one, and none left over."""
    groups: dict[object, list[socket.socket]] = {}
    for sock in sockets:
        groups.setdefault((sock.family, sock.getsockname()), []).append(sock)
    return [[sock for group in groups.values() for sock in (group[n::count] or [group[n % len(group)]])] for n in range(count)]

"""Open listening sockets for one or several processes, or use those that another process has opened.

Knows: systemd's LISTEN_FDS (sd_listen_fds(3)), SO_REUSEPORT. Must not know: what is served on them.
Invariants:
- A socket that this module opens listens from the start and can be inherited.
- On Linux each worker has a socket of its own on the same port: the kernel distributes connections, and keeps those of
  a dead worker for its successor. Elsewhere all workers share one socket.
- Every socket belongs to some worker, because connections to a socket without one would wait for ever.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping, Sequence

#: The first descriptor that systemd passes.
FIRST = 3
BACKLOG = 1024
#: Variable: descriptors of listening sockets that an a2py passes to its child, separated by commas.
VARIABLE = "A2PY_LISTEN"


def take_inherited(env: Mapping[str, str], pid: int) -> list[socket.socket]:
    """Return the listening sockets that systemd or another a2py passed to this process."""
    if env.get(VARIABLE):
        numbers = [int(number) for number in env[VARIABLE].split(",")]
    elif env.get("LISTEN_PID") == str(pid) and env.get("LISTEN_FDS", "").isdigit():
        numbers = list(range(FIRST, FIRST + int(env["LISTEN_FDS"])))
    else:
        return []
    return [_socket(number) for number in numbers]


def _socket(number: int) -> socket.socket:
    sock = socket.socket(fileno=number)
    sock.setblocking(False)
    os.set_inheritable(number, False)
    return sock


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    """Return the families and addresses of `host`. Raise OSError like getaddrinfo."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(info[0]), info[4]) for info in infos))


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """Return listening sockets for `count` workers on one port (0: a free one). Raise OSError like bind.

    There are `count` sockets for each address of `host` if the system distributes connections between them, else one
    each."""
    is_spread = sys.platform == "linux" and count > 1
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            for _ in range(count if is_spread else 1):
                same_port = port or (sockets[0].getsockname()[1] if sockets else 0)
                try:
                    sock = _open(family, (address[0], same_port, *address[2:]), is_spread)
                except OSError as error:
                    if sockets and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                        continue  # "localhost" has two addresses, and IPv6 may be switched off
                    raise
                sockets.append(sock)
                sock.listen(BACKLOG)
                sock.set_inheritable(True)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _open(family: int, address: tuple[object, ...], is_spread: bool) -> socket.socket:
    """Return a socket that is bound to `address`."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_spread:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def have_address(sockets: Sequence[socket.socket], host: str, port: int) -> bool:
    """Return whether these sockets have the addresses that `bind` would open."""
    try:
        expected = {(family, address[0], port) for family, address in _addresses(host, port)}
    except OSError:
        return False
    actual = {
        (int(sock.family), sock.getsockname()[0], port and sock.getsockname()[1])
        for sock in sockets
        if not is_unix(sock)
    }
    return actual == expected


def is_unix(sock: socket.socket) -> bool:
    """Return whether this is a Unix socket. The permissions of its file decide who may connect."""
    return sock.family == getattr(socket, "AF_UNIX", None)


def listening_host(sock: socket.socket) -> str:
    """Return the address on which a TCP socket listens."""
    return str(sock.getsockname()[0])


def share_out(sockets: Sequence[socket.socket], count: int) -> list[list[socket.socket]]:
    """Return the sockets of each of `count` workers: at least one of each address, and none is left over."""
    groups: dict[object, list[socket.socket]] = {}
    for sock in sockets:
        groups.setdefault((sock.family, sock.getsockname()), []).append(sock)
    return [
        [sock for group in groups.values() for sock in (group[n::count] or [group[n % len(group)]])]
        for n in range(count)
    ]

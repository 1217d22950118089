"""Who asks: the key, the session and the agent of a request, as far as routing and waiting need them.

Knows: where a request says it. Must not know: deployments, who may ask (access.py).
Invariants: the key itself is not kept, only a digest of it; nothing is computed before somebody needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b

from a2py.messages import session as sessions
from a2py.messages.types import Call
from a2py.proxy.access import KEY_HEADERS


class Asker:
    """`find_session`: returns a text that all turns of a conversation share, "" if nothing is known of it;
    `is_subagent`: a sub-agent asks, for whom nobody waits as long as the main conversation has something to do; `name`:
    of the key that was checked, "" if the proxy asks for none."""

    __slots__ = ("_find_session", "_headers", "_name", "_session", "is_subagent")

    def __init__(
        self,
        headers: Mapping[str, str],
        find_session: Callable[[], str] = lambda: "",
        *,
        is_subagent: bool = False,
        name: str = "",
    ) -> None:
        self._headers = headers
        self._name = name
        self._find_session = find_session
        self._session: str | None = None
        self.is_subagent = is_subagent

    @property
    def session(self) -> str:
        """The session, "" if nothing is known of it."""
        if self._session is None:
            self._session = self._find_session()
        return self._session

    @property
    def key(self) -> str:
        """A digest of the client's key, "" if it sent none. Clients with different keys wait in turn.

        It is made of the name of a key that was checked: such a client may send anything in the other headers."""
        key = (
            self._name
            or next((self._headers[name] for name in KEY_HEADERS if self._headers.get(name)), "").rpartition(" ")[2]
        )
        return blake2b(key.encode("utf-8", "replace"), digest_size=8).hexdigest() if key else ""


#: Nothing is known of who asks.
NOBODY = Asker({})


def asker_of(headers: Mapping[str, str], call: Call, name: str = "") -> Asker:
    """Return who asks with a request to /v1/messages. `name`: of the key that was checked."""
    request, session = call.request, call.session
    return Asker(
        headers,
        lambda: session or sessions.digest_opening(request),
        is_subagent=sessions.is_subagent(headers, request),
        name=name,
    )

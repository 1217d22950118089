"""Get a token for the page of the running a2py.

Knows: the page's paths, the secret of the state folder, which key this configuration has. Must not know: what is done
with the token.
Invariants: the secret is written once, with mode 0600, and goes only to an a2py on this machine; a key goes only to a
server that says that it is an a2py.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from a2py.cli import http, running, state
from a2py.cli.exits import FAILED, UNAVAILABLE, Stop
from a2py.cli.source import read_environment
from a2py.cli.summary import is_loopback

#: Seconds that a busy proxy may take.
SECONDS = 10.0
TOKEN_PATH, SESSION_PATH = "/ui/api/token", "/ui/api/session"


class Link(NamedTuple):
    """`url`: of the running a2py; `token`: worth one bearer, for a minute."""

    url: str
    token: str

    @property
    def address(self) -> str:
        """What a browser opens. The token follows the hash, so no server sees it."""
        return f"{self.url}/ui#{self.token}"


def make_link(args: argparse.Namespace) -> Link:
    """Return a link to the page of the running a2py. Raise Stop."""
    env = read_environment()
    url = running.find_url(args, env)
    if not running.is_a2py(url):
        raise Stop(f"no a2py answers at {url}: start one (a2py start), or name another with --url", UNAVAILABLE)
    key = running.find_key(args, env)
    headers = {"x-api-key": key} if key else {}
    answer = _ask(url, headers)
    if answer is not None and answer.status == 401 and is_loopback(urlsplit(url).hostname or ""):
        # A proxy without keys ignores the key. One with keys ignores the secret, and refuses the key again.
        answer = _ask(url, {**headers, "x-a2py-ui-secret": read_secret(env)})
    token = _read(answer, "token")
    if not token:
        raise Stop(_explain(url, answer, has_key=bool(key)), FAILED)
    return Link(url, token)


def begin_session(link: Link) -> str:
    """Return the bearer for a link. Raise Stop."""
    answer = http.ask(link.url + SESSION_PATH, body={"token": link.token}, timeout=SECONDS)
    bearer = _read(answer, "bearer")
    if not bearer:
        raise Stop(_explain(link.url, answer, has_key=True), FAILED)
    return bearer


def read_secret(env: Mapping[str, str]) -> str:
    """Return the secret of this user's state folder, which is made if there is none."""
    path = state.page_secret_path(env)
    with state.lock("ui"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read(1024).strip()
        except FileNotFoundError:
            text = ""
        except (OSError, ValueError) as error:
            raise Stop(f"{path} can't be read: delete it, and try again ({error})", FAILED) from None
        if not text:
            text = secrets.token_urlsafe(32)
            state.write(path, text + "\n", 0o600)
    return text


def _ask(url: str, headers: Mapping[str, str]) -> http.Answer | None:
    return http.ask(url + TOKEN_PATH, body={}, headers=headers, timeout=SECONDS)


def _read(answer: http.Answer | None, name: str) -> str:
    body = answer.json() if answer is not None and answer.status == 200 else None
    value: Any = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def _explain(url: str, answer: http.Answer | None, *, has_key: bool) -> str:
    """Return why there is no token, and what to do."""
    if answer is None:
        return f"the a2py at {url} does not answer: see `a2py status`, or name another with --url"
    if answer.status == 401 and not has_key:
        return (
            f"the a2py at {url} runs as another user, on another machine, or with keys: run this as that user, or set"
            " A2PY_KEY to its master key or to an admin's key"
        )
    return f"the a2py at {url} says: {answer.error_message() or f'HTTP {answer.status}'}"

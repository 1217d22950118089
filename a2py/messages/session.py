"""Which conversation a request belongs to: the client's session, the beginning of the conversation, its sub-agents.

Knows: clients' headers, Claude Code's `metadata.user_id`, the request. Must not know: what a session is used for.
Invariants: nothing raises on a parsed request; `digest_opening` reads at most MAX_BLOCKS blocks and MAX_TEXT characters
of each, and is the same for every turn of a conversation, in every process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b

import orjson

from a2py import jsontext
from a2py.messages.types import JSON, Request

#: Headers of Claude Code (2.1.332): the session, which its sub-agents share, and the sub-agent's id.
SESSION_HEADER, AGENT_HEADER = "x-claude-code-session-id", "x-claude-code-agent-id"
#: Headers that name a session: Claude Code's; Codex's now and before (openai/codex, 2026-09 and 2026-10).
SESSION_HEADERS = (SESSION_HEADER, "session_id", "session-id", "conversation_id")
#: What kind of request it is, if CLAUDE_CODE_GATEWAY_HINT_HEADERS=1, and the kinds that nobody looks at while they run.
CLASS_HEADER, BACKGROUND = "x-claude-code-request-class", frozenset({"subagent", "workflow"})
#: Start of the line in which Claude Code (2.1.332) sends a fingerprint of the conversation. It changes after a
#: compaction, so the upstream's prefix cache would miss. And what the line says of a sub-agent.
BILLING, IS_SUBAGENT = "x-anthropic-billing-header:", "cc_is_subagent=true"
#: Characters of a session that are kept.
SESSION_LENGTH = 128
#: Characters of `metadata.user_id` that may hold a session: Claude Code's has some 200 (2.1.332), the API takes 256.
USER_LIMIT = 4096
#: `user_…_account_…_session_UUID`: the form of Claude Code before it sent JSON.
_USER_SESSION = re.compile(r"_session_([0-9A-Za-z-]{8,128})\Z")
#: How much of the beginning of a conversation tells it from others: blocks, and characters of each.
MAX_BLOCKS, MAX_TEXT = 64, 16 * 1024


def name_session(headers: Mapping[str, str]) -> str:
    """Return the session that a header names, "" if none does."""
    for name in SESSION_HEADERS:
        value = headers.get(name)
        if value:
            return value[:SESSION_LENGTH]
    return ""


def find_session(headers: Mapping[str, str], request: Request) -> str:
    """Return the client's session: of a header, else of `metadata.user_id`, else ""."""
    header_session = name_session(headers)
    if header_session:
        return header_session
    metadata = request.body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    if not isinstance(user, str) or len(user) > USER_LIMIT:
        return ""
    if user[:1] != "{":
        match = _USER_SESSION.search(user)
        return match[1] if match is not None else ""
    try:
        session = orjson.loads(user).get("session_id")
    except ValueError:
        return ""
    return session[:SESSION_LENGTH] if isinstance(session, str) else ""


def is_subagent(headers: Mapping[str, str], request: Request) -> bool:
    """Return whether a sub-agent asks, which works while the main conversation goes on."""
    if headers.get(AGENT_HEADER) or headers.get(CLASS_HEADER) in BACKGROUND:
        return True
    text = request.system[0].get("text") if request.system else None
    return isinstance(text, str) and text.startswith(BILLING) and IS_SUBAGENT in text.partition("\n")[0]


def strip_billing(text: str) -> str:
    """Return `text` without the billing line at its start."""
    if text.startswith(BILLING):
        return text.partition("\n")[2]
    return text


def digest_opening(request: Request) -> str:
    """Return a digest of the system prompt and of the first user turn, by which the turns of a conversation without a
    session belong together.

    Cache marks are left out, because they move from turn to turn, and so is Claude Code's billing line."""
    digest = blake2b(digest_size=12)
    first = next((message for message in request.messages if message.get("role") == "user"), {})
    content = first.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for part in (request.system, blocks if isinstance(blocks, list) else []):
        add_texts(digest, _texts(part[:MAX_BLOCKS]))
        digest.update(b"\0")
    return digest.hexdigest()


def add_texts(digest: blake2b, texts: Iterable[str]) -> None:
    """Add the first MAX_TEXT characters of each text. Its length tells where it ends."""
    for text in texts:
        data = text[:MAX_TEXT].encode("utf-8", "replace")
        digest.update(b"%d:%b" % (len(data), data))


def _texts(blocks: Iterable[JSON]) -> Iterable[str]:
    """Yield a text for each of `blocks`: its own, or that of its JSON without its cache mark."""
    for block in blocks:
        text = block.get("text")
        if not isinstance(text, str):
            plain = {name: value for name, value in block.items() if name != "cache_control"}
            text = jsontext.dumps(plain).decode()
        yield strip_billing(text)

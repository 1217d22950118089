"""The answer to a request that wants nothing but a web search, if nobody can make one.

Claude Code's WebSearch sends an inner request whose only tool is `web_search`. A model that gets it without the tool
answers from its memory, and the agent takes that for search results. So the model is not asked: the reply has the
search and its error, and Claude Code (2.1.332) tells the agent that the search failed.

Knows: which request that is, and its reply. Must not know: upstreams, how the reply travels.
Invariants: no other request is ever answered without its model.
"""

from __future__ import annotations

from a2py.deployment import Deployment
from a2py.messages.types import JSON, Outcome, Prepared, Request, Sink, Usage
from a2py.wires.common import search
from a2py.wires.common.text import block_text, blocks

#: How Claude Code (2.1.332) begins the text of its inner request.
_PREFIX = "Perform a web search for the query: "
#: Characters of the query that is shown.
QUERY = 2000
NOTE = (
    "answered here with a search error: the upstream can't search, and no search tool is configured"
    " (`a2py: search`, docs/search.md)"
)


def wants_only_search(request: Request) -> bool:
    """Return whether the only tool of `request` is Anthropic's web search, so that its reply would be a search."""
    if len(request.tools) != 1 or request.body.get("mcp_servers"):
        return False
    return search.is_search(request.tools[0])


def read_query(request: Request) -> str:
    """Return the query in the text of the user's last message."""
    for message in reversed(request.messages):
        if message["role"] == "user":
            texts = [block_text(block) for block in blocks(message["content"]) if block["type"] == "text"]
            text = "\n".join(texts).strip()
            if text:
                return text.removeprefix(_PREFIX).strip()[:QUERY]
    return ""


def make_prepared() -> Prepared:
    """Return the request that is not sent."""
    return Prepared("", {}, b"", False)


def write(sink: Sink, request: Request, id: str) -> Outcome:
    """Write the search and its error. Return the outcome: no token was used."""
    block_id, query = search.make_block_id(id), read_query(request)
    input: JSON = {"query": query} if query else {}
    sink.server_tool("search", block_id, search.NAME, input)
    sink.server_result("result", search.RESULT, block_id, search.failure())
    return Outcome(usage=Usage(input=1), notes=[NOTE])


def is_unserved(deployment: Deployment, *, has_tool: bool) -> bool:
    """Return whether `deployment` can't search, and nobody searches for it (`has_tool`: a search tool would)."""
    return not has_tool and not search.can_search(deployment.wire, deployment.quirks)

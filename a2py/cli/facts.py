"""Ask a server about itself: its models list, and the context that a model really has.

Knows: which paths a command asks. Must not know: what an answer means (evidence/server.py; Ollama's own API is in
a2py.proxy), probes, what a number means for a client.
Invariants: a failed lookup is not an error. The only secret that is sent is the deployment's own key, to its own host.
"""

from __future__ import annotations

import time
from typing import NamedTuple
from urllib.parse import urlsplit

from a2py.deployment import Deployment
from a2py.evidence.server import MODELS, read
from a2py.proxy.context import Contexts
from a2py.proxy.discovery import fetch
from a2py.upstream import Upstream

#: Seconds for one lookup.
SECONDS = 15.0


class Facts(NamedTuple):
    """`status`: of the models list, 0 if no server answered. `names`: the models in it. `context`: in tokens, 0 if
    unknown.
    `source`: where the context comes from."""

    status: int = 0
    names: tuple[str, ...] = ()
    context: int = 0
    source: str = ""


async def gather(upstream: Upstream, dep: Deployment, seconds: float = SECONDS) -> Facts:
    """Return what the server of `dep` says about itself. Each lookup takes at most `seconds`."""
    base = dep.base + ("/v1" if dep.wire == "native" else "")
    listing = await fetch(upstream, dep, base + MODELS, seconds)
    if listing is None:
        return Facts()
    answers = {MODELS: listing}
    word, source = read(answers), "the models list"
    facts = Facts(listing.status, tuple(model.id for model in word.models))
    if dep.quirks.context_probe == "ollama":
        size = await Contexts(time.monotonic).size(upstream, dep)
        if size:
            return facts._replace(context=size, source="Ollama")
    if word.program == "llama.cpp" or dep.quirks.tokenizer == "llamacpp":
        props = await fetch(upstream, dep, f"{urlsplit(base).scheme}://{urlsplit(base).netloc}/props", seconds)
        if props is not None and props.status == 200:
            word, source = read({**answers, "/props": props}), "llama.cpp (n_ctx of one slot)"
    context = word.context(dep.model)
    return facts._replace(context=context, source=source if context else "")

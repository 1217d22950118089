"""One request to a model, as its exchange, its attempts and its answer see it.

Knows: what belongs to one request. Must not know: what is done with it.
Invariants: `config` stays the one that was in force when the request came, whatever is reloaded meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from a2py.messages.fingerprint import Fingerprint
from a2py.messages.types import Call
from a2py.proxy.aiohttp_server import BaseRequest
from a2py.proxy.asker import NOBODY, Asker
from a2py.proxy.log import Record
from a2py.proxy.sizes import PassedSize, PromptSize

if TYPE_CHECKING:
    from a2py.config import Config
    from a2py.deployment import Deployment
    from a2py.proxy.recording import Recording


@dataclass(slots=True)
class Inbound:
    """`start_time`: loop time at which the exchange began; `model`: the name to serve it by (proxy/rules.py); `hops`:
    value of the hop header for upstreams; `patience`: seconds that the client waits for a complete answer, 0 if it
    waits for ever; `record`: its line in the log, filled on the way; `recording`: None if nobody wants one; `is_able`:
    which deployments may be asked for its key, None: all; `extra`: further headers of an answer that streams."""

    request: BaseRequest
    call: Call
    record: Record
    config: Config
    size: PromptSize | PassedSize
    start_time: float
    model: str
    asker: Asker = NOBODY
    hops: str = ""
    patience: float = 0.0
    prompt: Fingerprint | None = None
    arrival: float = 0.0
    recording: Recording | None = None
    is_able: Callable[[Deployment], bool] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def thinking_mode(self) -> str:
        """What the client sees of reasoning: `show`, `omit` or `none`."""
        mode = self.call.request.thinking_mode
        if mode:
            return mode
        return "none" if self.config.settings.unasked_thinking == "hide" else "show"

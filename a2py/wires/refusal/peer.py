"""The upstream that an error is about.

Knows: how messages name it. Must not know: what went wrong.
"""

from __future__ import annotations

from typing import NamedTuple

from a2py.deployment import Deployment
from a2py.messages.sent import NOTHING, SentBody


class Peer(NamedTuple):
    """The upstream, as messages and rules need it.

    `provider`: decides what some error codes mean; `address`: host and port; `model`: the upstream's own model id;
    `name`: the model's name in the configuration; `secrets`: strings that no message may repeat, like the key that was
    sent; `sent_body`: the request's body, which the upstream's text may repeat; `base`: the API base, "" if it is the
    native wire's, which has its /v1 in the path."""

    provider: str = ""
    address: str = ""
    model: str = ""
    name: str = ""
    secrets: tuple[str, ...] = ()
    sent_body: SentBody = NOTHING
    base: str = ""

    @classmethod
    def of(cls, dep: Deployment, sent_body: SentBody = NOTHING) -> Peer:
        """Return the peer that answers for a deployment."""
        base = "" if dep.wire == "native" else dep.base
        return cls(dep.provider, dep.address, dep.model, dep.name, dep.secrets, sent_body, base)

    @property
    def host(self) -> str:
        """What messages call the server.

        It is the address, not the provider's prefix: that is `openai` for any compatible server."""
        return self.address or self.provider or "the upstream"

    @property
    def host_and_model(self) -> str:
        """The server and the model's name, for errors that are cured in the configuration."""
        return f"{self.host} (model {self.name})" if self.name else self.host

    @property
    def base_with_v1(self) -> str:
        """The base with `/v1`, if it has no path: most servers have no API at `/`. "" if it has one."""
        _, _, rest = self.base.partition("://")
        return f"{self.base}/v1" if rest and "/" not in rest else ""

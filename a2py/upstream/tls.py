"""TLS contexts: which certificates a connection accepts.

Knows: the system's certificates, `SSL_CERT_FILE` and `SSL_CERT_DIR` (through OpenSSL), a CA that the configuration
names.
Must not know: connections. Invariants: every context speaks HTTP/1.1 only, and verifies unless the configuration says
`ssl_verify: false`.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache


@lru_cache(16)
def trusting(cafile: str | None = None, capath: str | None = None) -> ssl.SSLContext:
    """Return a context that trusts the system's certificates, or only those in `cafile` or `capath`. Raises OSError or
    ssl.SSLError.

    Reading the system's 140 certificates takes 35 ms and 1.9 MiB, so it is done once, and only if something needs
    it."""
    context = ssl.create_default_context(cafile=cafile, capath=capath)
    if cafile or capath:
        # Python 3.13 turned this on. It refuses company CAs without the extensions of RFC 5280, which curl and nginx
        # accept.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(1)
def trusting_everybody() -> ssl.SSLContext:
    """Return the context for `ssl_verify: false`, which verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def context_of(verify: bool | str) -> ssl.SSLContext:
    """Return the context for a value of `ssl_verify`: True, False, or the path of a CA file or directory. Raises
    OSError or ssl.SSLError."""
    if verify is False:
        return trusting_everybody()
    if verify is True:
        return trusting()
    return trusting(capath=verify) if os.path.isdir(verify) else trusting(cafile=verify)


def forget() -> None:
    """Read certificates again for new connections. A reload calls this, because a CA file may have changed."""
    trusting.cache_clear()

"""The embedded `demo` upstream: a small OpenAI-compatible server, for a first start without any model."""

from a2py.demo.server import CONTEXT, MODEL, Demo

__all__ = ["CONTEXT", "MODEL", "Demo"]

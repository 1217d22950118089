"""The HTTP client for upstreams. Every request that a2py sends to a model's server goes through it."""

from a2py.upstream.client import HOP_HEADER, NoAnswer, Response, Upstream
from a2py.upstream.failure import Failure
from a2py.upstream.flow import Flow, Gather, Patient

__all__ = ["HOP_HEADER", "Failure", "Flow", "Gather", "NoAnswer", "Patient", "Response", "Upstream"]

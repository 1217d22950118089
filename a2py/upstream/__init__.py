"""The client side: connections to upstreams, over which everything goes out that a2py asks of a model's server."""

from a2py.upstream.client import HOP_HEADER, NoAnswer, Response, Upstream
from a2py.upstream.failure import Failure
from a2py.upstream.flow import Flow, Gather, Patient

__all__ = ["HOP_HEADER", "Failure", "Flow", "Gather", "NoAnswer", "Patient", "Response", "Upstream"]

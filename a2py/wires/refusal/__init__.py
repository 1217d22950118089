"""How upstreams say no: bodies, wordings, waiting times, and what must not be repeated. wires/failure.py puts them together."""

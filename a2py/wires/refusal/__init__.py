"""How upstreams report errors: bodies, wordings, waiting times, and what must not be repeated to a client.

wires/failure.py puts these modules together.
"""

"""HTTP/1.1 as a client sees it, without sockets: request heads, response heads and bodies."""

from a2py.http1.coding import CODINGS, Inflater
from a2py.http1.error import BadResponse
from a2py.http1.head import Head
from a2py.http1.request import request_head
from a2py.http1.response import ResponseReader, State, content_length

__all__ = ["CODINGS", "BadResponse", "Head", "Inflater", "ResponseReader", "State", "content_length", "request_head"]

"""A small HTTP server that answers with JSON, for commands that ask a server about itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def server(routes: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Serve JSON: path → body, or (status, bytes), or a function of the request's body. Yield its URL and the requested
    paths."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            found = routes.get(self.path, (404, b"{}"))
            found = found(json.loads(body)) if callable(found) else found
            status, data = found if isinstance(found, tuple) else (200, json.dumps(found).encode())
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_address[1]}", asked
        finally:
            made.shutdown()
            thread.join()

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
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            answer = routes.get(self.path, (404, b"{}"))
            answer = answer(json.loads(body)) if callable(answer) else answer
            status, data = answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode())
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http_server.server_address[1]}", paths
        finally:
            http_server.shutdown()
            thread.join()

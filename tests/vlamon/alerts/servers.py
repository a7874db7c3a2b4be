"""Real servers on loopback that remember what they were sent, and fail on request."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Http:
    """What came, and how it is answered."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    code: int = 200
    answer: bytes = b'{"ok": true, "code": 0, "errcode": 0}'
    hang: float = 0.0

    def wait(self, count: int, seconds: float = 30.0) -> list[Any]:
        """The documents of the first `count` requests, once they have come."""
        end = time.monotonic() + seconds
        while len(self.requests) < count and time.monotonic() < end:
            time.sleep(0.02)
        return [document for _, _, document in self.requests]


@contextlib.contextmanager
def http_server() -> Iterator[Http]:
    known = Http()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(known.hang)
            known.requests.append((self.path, dict(self.headers), json.loads(body)))
            with contextlib.suppress(OSError):
                self.send_response(known.code)
                self.send_header("Content-Length", str(len(known.answer)))
                if known.code in (301, 302, 307):
                    self.send_header("Location", known.url + "/elsewhere")
                self.end_headers()
                self.wfile.write(known.answer)

        def log_message(self, *args: object) -> None:
            """Silence on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    known.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        server.server_close()

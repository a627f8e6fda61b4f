"""A real web site on loopback."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """Pages by path, each (status, headers, body) or a function of the handler; and what was asked of it."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.log: list[tuple[str, int]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 2**16  # head and body in one packet

            def do_GET(self) -> None:
                page = site.pages.get(self.path, (404, {}, b"no such page"))
                if callable(page):
                    site.log.append((self.path, 0))
                    page(self)
                    return
                status, headers, body = page
                if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
                    status, body = 304, b""
                site.log.append((self.path, status))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://site.test:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def page(self, path: str, body: str | bytes, status: int = 200, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = (status, {"Content-Type": "text/html; charset=utf-8"} | named, data)

    def versioned(self, path: str, body: bytes) -> None:
        """A page with an ETag and a time of change."""
        etag = f'"{hashlib.sha256(body).hexdigest()[:12]}"'
        headers = {"ETag": etag, "Last-Modified": "Fri, 17 May 2024 09:30:00 GMT", "Content-Type": "text/html"}
        self.pages[path] = (200, headers, body)

    def asked(self, path: str) -> list[int]:
        return [status for name, status in self.log if name == path]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A page that never ends, a byte at a time."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"<p>")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True

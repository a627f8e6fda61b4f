"""A server on loopback that answers what the Hugging Face client asks of a dataset's repository."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "a" * 40


class Hub:
    """The files of `owner/name` at one commit; log: what was asked; sent: bytes of files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.log: list[str] = []
        self.sent = 0
        hub, api, resolve = self, "/api/datasets/owner/name", "/datasets/owner/name/resolve/"

        def listed(folder: str) -> list[dict[str, Any]]:
            """Files and folders right under `folder` ("" or "data/")."""
            names = {path.removeprefix(folder).partition("/") for path in files if path.startswith(folder)}
            return [
                {"type": "directory" if slash else "file", "path": folder + name, "oid": COMMIT,
                 "size": 0 if slash else len(files[folder + name])}
                for name, slash in {(name, slash) for name, slash, _ in names}
            ]  # fmt: skip

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                hub.log.append(f"{self.command} {path}")
                if path in (f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
                    siblings = [{"rfilename": name} for name in files]
                    self.answer(200, json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode())
                elif path.startswith(f"{api}/tree/{COMMIT}"):
                    folder = path.removeprefix(f"{api}/tree/{COMMIT}").strip("/")
                    self.answer(200, json.dumps(listed(folder + "/" if folder else "")).encode())
                elif path.startswith(resolve) and (name := path.removeprefix(resolve).partition("/")[2]) in files:
                    self.file(files[name])
                else:
                    self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})

            do_HEAD = do_GET

            def file(self, data: bytes) -> None:
                headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                wanted = self.headers.get("Range", "").removeprefix("bytes=")
                if not wanted:
                    return self.answer(200, data, headers)
                first, _, last = wanted.partition("-")
                part = data[int(first) : int(last or len(data)) + 1]
                span = {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}
                return self.answer(206, part, headers | span)

            def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for key, value in (headers or {"Content-Type": "application/json"}).items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)
                    hub.sent += len(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

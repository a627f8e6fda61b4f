"""An emulation of the part of lakeFS's REST API that the store uses. It is not lakeFS.

It serves HTTP on loopback to the vendor's real client, and follows what lakeFS documents (`api/swagger.yml`, "Merge",
"Branch protection", "Garbage collection") and what its controller answers: names of branches and tags, staging,
commits that take all that is staged, three-way merges with source-wins, "no changes" and "dirty branch" as 400,
conflicts as 409, protected branches as 403, 404, range reads with 416, pages, first-parent logs. State is kept in
memory, contents in a folder. `faults` makes answers fail as servers, hooks and networks do.

As a program it takes the settings of `lakefs run` that matter here, to be started as the local server is.

What it cannot show: that lakeFS behaves as documented; presigned URLs and object stores other than a server that
takes the bytes itself; permissions other than right and wrong keys; the server's own garbage collection, retries and
limits; its speed; asynchronous commits. A real server is needed for these (see `conftest.py`).
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from lakefs_emulator_api import ROUTES, Api
from lakefs_emulator_state import Refusal, RepositoryState

KEY_ID, SECRET = "AKIAEMULATED", "not-a-secret-of-anyone"


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose "METHOD path?query" the pattern is found in.

    kind: "status" (answer `status`), "reset" (the connection is cut while the request comes in), "lost" (done, but the
    connection is cut before the answer), "flip" (one bit of the answer's body is wrong), "short" (the body ends early).
    """

    pattern: str
    kind: str = "status"
    status: int = 503
    times: int = 1
    message: str = "injected"


class Server(ThreadingHTTPServer):
    """Quiet about clients that are gone: tests kill them."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Emulator:
    """A server on a free port of the loopback interface."""

    def __init__(self, folder: Path, port: int = 0, key_id: str = KEY_ID, secret: str = SECRET) -> None:
        self.folder = folder
        self.authorization = "Basic " + base64.b64encode(f"{key_id}:{secret}".encode()).decode()
        self.repositories: dict[str, RepositoryState] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.lock = threading.RLock()
        shared = {"emulator": self, "repositories": self.repositories, "folder": folder}
        handler = type("Handler", (Handler,), shared)
        self.server = Server(("127.0.0.1", port), handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fault(self, request: str, kinds: tuple[str, ...]) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.kind in kinds and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None


class Handler(Api, BaseHTTPRequestHandler):
    """One connection. `routes` are tried in order; each answers (status, JSON, text or bytes)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    emulator: Emulator

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        request = f"{self.command} {unquote(self.path)}"
        self.emulator.requests.append(request)
        if self.emulator.fault(request, ("reset",)):
            if self._sized():
                self.rfile.read1(1)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        body = self._body()
        fault = self.emulator.fault(request, ("status",))
        try:
            if fault:
                raise Refusal(fault.status, fault.message)
            status, answer, headers = self._route(url.path, body)
        except Refusal as refusal:
            status, answer, headers = refusal.status, {"message": str(refusal)}, refusal.headers
        if self.emulator.fault(request, ("lost",)):
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode() if answer is not None else b""
        kind = "application/octet-stream" if isinstance(answer, bytes) else "application/json"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if data and self.emulator.fault(request, ("flip",)):
            data = bytes([data[0] ^ 1]) + data[1:]
        if data and self.emulator.fault(request, ("short",)):
            data, self.close_connection = data[: len(data) // 2], True
        self.wfile.write(data)

    do_POST = do_PUT = do_DELETE = do_GET

    def _body(self) -> Path | None:
        """The request's body, in a file: clients send large ones in chunks."""
        if not self._sized():
            return None
        target = self.emulator.folder / uuid.uuid4().hex
        with target.open("wb") as sink:
            for piece in self._pieces():
                sink.write(piece)
        return target

    def _sized(self) -> bool:
        """Whether the request has a body."""
        return self.headers.get("Transfer-Encoding") == "chunked" or self.headers.get("Content-Length", "0") != "0"

    def _pieces(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 2**20))
            yield piece
            left -= len(piece)

    def _route(self, path: str, body: Path | None) -> tuple[int, object, dict[str, str]]:
        path = path.removeprefix("/api/v1")
        if path in ("/healthcheck", "/_health"):
            return 204, None, {}
        if self.headers.get("Authorization") != self.emulator.authorization:
            raise Refusal(401, "error authenticating request")
        for method, pattern, name in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                with self.emulator.lock:
                    done = getattr(self, name)(*(unquote(group) for group in found.groups()), body=body)
                return done if len(done) == 3 else (*done, {})
        raise Refusal(404, f"no such path: {self.command} {path}")


if __name__ == "__main__":
    folder = Path(os.environ["LAKEFS_BLOCKSTORE_LOCAL_PATH"])
    folder.mkdir(parents=True, exist_ok=True)
    keys = (os.environ[f"LAKEFS_INSTALLATION_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    Emulator(folder, int(os.environ["LAKEFS_LISTEN_ADDRESS"].rpartition(":")[2]), *keys)
    signal.pause()

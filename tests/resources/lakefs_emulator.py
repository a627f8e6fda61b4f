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
import fnmatch
import hashlib
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

KEY_ID, SECRET = "AKIAEMULATED", "not-a-secret-of-anyone"
BRANCH_ID, REPOSITORY_ID = re.compile(r"\w[-\w]*", re.ASCII), re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
INVALID_TAG = re.compile(r"^@$|\.$|\.lock$|\.\.|/|@\{|[\^:?*\[\\]|[\x00-\x20]|^$")


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


@dataclass(frozen=True)
class Entry:
    """An object of a tree. Its identity is what it holds, not where."""

    address: str = field(compare=False)
    checksum: str
    size: int


@dataclass(frozen=True)
class Commit:
    id: str
    parents: tuple[str, ...]
    tree: dict[str, Entry]
    message: str
    metadata: dict[str, str]
    date: int
    generation: int

    def json(self) -> dict:
        return {
            "id": self.id,
            "parents": list(self.parents),
            "committer": "emulated",
            "message": self.message,
            "creation_date": self.date,
            "meta_range_id": "0",
            "metadata": self.metadata,
            "generation": self.generation,
        }


@dataclass
class BranchState:
    commit: str
    hidden: bool
    staged: dict[str, Entry | None] = field(default_factory=dict)


@dataclass
class RepositoryState:
    namespace: str
    branches: dict[str, BranchState] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    protected: list[str] = field(default_factory=list)

    def add(self, parents: tuple[str, ...], tree: dict, message: str, metadata: dict) -> Commit:
        generation = 1 + max((self.commits[p].generation for p in parents), default=0)
        identity = hashlib.sha256(f"{uuid.uuid4()}{parents}{message}".encode()).hexdigest()
        commit = Commit(identity, parents, tree, message, metadata or {}, int(time.time()), generation)
        self.commits[identity] = commit
        return commit

    def branch(self, name: str) -> BranchState:
        if name not in self.branches:
            raise Refusal(404, f"branch '{name}' not found")
        return self.branches[name]

    def commit(self, ref: str) -> Commit:
        if ref in self.branches:
            ref = self.branches[ref].commit
        ref = self.tags.get(ref, ref)
        if ref not in self.commits:
            raise Refusal(404, f"ref '{ref}' not found")
        return self.commits[ref]

    def tree(self, ref: str) -> dict[str, Entry]:
        """What a ref shows: of a branch, with what is staged on it."""
        tree = dict(self.commit(ref).tree)
        for path, entry in self.branches[ref].staged.items() if ref in self.branches else ():
            tree.pop(path, None)
            if entry is not None:
                tree[path] = entry
        return tree

    def writable(self, name: str) -> BranchState:
        branch = self.branch(name)
        if any(fnmatch.fnmatch(name, pattern) for pattern in self.protected):
            raise Refusal(403, "cannot write to protected branch")
        return branch

    def merge_base(self, left: str, right: str) -> Commit:
        def ancestors(start: str) -> set[str]:
            found, queue = set(), [start]
            while queue:
                if (one := queue.pop()) not in found:
                    found.add(one)
                    queue.extend(self.commits[one].parents)
            return found

        common = ancestors(left) & ancestors(right)
        return max((self.commits[one] for one in common), key=lambda commit: commit.generation)


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
        handler = type("Handler", (Handler,), {"emulator": self})
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


class Handler(BaseHTTPRequestHandler):
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

    def _repository(self, name: str) -> RepositoryState:
        if name not in self.emulator.repositories:
            raise Refusal(404, "repository not found")
        return self.emulator.repositories[name]

    def _page(self, results: list, key: str) -> tuple[int, dict]:
        """A page of sorted results after `after`."""
        after, amount = self.query.get("after", ""), int(self.query.get("amount", 100))
        rest = [item for item in results if item[key] > after]
        page = rest[:amount]
        more = len(rest) > amount
        pagination = {
            "has_more": more,
            "next_offset": page[-1][key] if more else "",
            "results": len(page),
            "max_per_page": 1000,
        }
        return 200, {"pagination": pagination, "results": page}

    # -- server and repositories

    def config(self, body):
        storage = {
            "blockstore_type": "local",
            "blockstore_namespace_example": "local://example",
            "blockstore_namespace_ValidityRegex": "^local://",
            "default_namespace_prefix": "local://",
            "pre_sign_support": False,
            "pre_sign_support_ui": False,
            "import_support": False,
            "import_validity_regex": "",
        }
        return 200, {"version_config": {"version": "emulated"}, "storage_config": storage}

    def repository(self, name, body):
        state = self._repository(name)
        return 200, _repository(name, state)

    def create_repository(self, body):
        wanted = json.loads(body.read_bytes())
        name = wanted["name"]
        if not REPOSITORY_ID.fullmatch(name):
            raise Refusal(400, "repository id: invalid value")
        if name in self.emulator.repositories:
            raise Refusal(409, "error creating repository: not unique")
        state = self.emulator.repositories[name] = RepositoryState(wanted["storage_namespace"])
        first = state.add((), {}, "Repository created", {})
        state.branches[wanted.get("default_branch") or "main"] = BranchState(first.id, False)
        return 201, _repository(name, state)

    def protection(self, name, body):
        return 200, [{"pattern": pattern} for pattern in self._repository(name).protected]

    def protect(self, name, body):
        self._repository(name).protected = [rule["pattern"] for rule in json.loads(body.read_bytes())]
        return 204, None

    # -- branches, tags, commits

    def branches(self, name, body):
        state, prefix = self._repository(name), self.query.get("prefix", "")
        hidden = self.query.get("show_hidden", "").lower() == "true"
        found = [
            {"id": one, "commit_id": branch.commit}
            for one, branch in sorted(state.branches.items())
            if one.startswith(prefix) and (hidden or not branch.hidden)
        ]
        return self._page(found, "id")

    def create_branch(self, name, body):
        state, wanted = self._repository(name), json.loads(body.read_bytes())
        if not BRANCH_ID.fullmatch(wanted["name"]):
            raise Refusal(400, "branch id: invalid value")
        source = state.commit(wanted["source"])
        if wanted["name"] in state.branches:
            raise Refusal(409, "branch already exists: not unique")
        state.branches[wanted["name"]] = BranchState(source.id, bool(wanted.get("hidden")))
        return 201, source.id.encode()

    def branch(self, name, branch, body):
        return 200, {"id": branch, "commit_id": self._repository(name).branch(branch).commit}

    def delete_branch(self, name, branch, body):
        state = self._repository(name)
        state.branch(branch)
        if branch == "main":
            raise Refusal(400, "cannot delete repository default branch")
        del state.branches[branch]
        return 204, None

    def commit(self, name, branch, body):
        state, wanted = self._repository(name), json.loads(body.read_bytes())
        at = state.writable(branch)
        if not at.staged and not wanted.get("allow_empty"):
            raise Refusal(400, "commit: no changes")
        made = state.add((at.commit,), state.tree(branch), wanted["message"], wanted.get("metadata"))
        at.commit, at.staged = made.id, {}
        return 201, made.json()

    def commit_at(self, name, commit, body):
        return 200, self._repository(name).commit(commit).json()

    def log(self, name, ref, body):
        state = self._repository(name)
        found, one = [], state.commit(ref)
        while one:
            found.append(one.json())
            one = state.commits[one.parents[0]] if one.parents else None
        after, amount = self.query.get("after"), int(self.query.get("amount", 100))
        ids = [item["id"] for item in found]
        start = ids.index(after) + 1 if after else 0
        page = found[start : start + amount]
        more = start + amount < len(found)
        pagination = {"has_more": more, "next_offset": page[-1]["id"] if more else "", "results": len(page)}
        return 200, {"pagination": {**pagination, "max_per_page": 1000}, "results": page}

    def merge(self, name, source, branch, body):
        state, wanted = self._repository(name), json.loads(body.read_bytes()) if body else {}
        target = state.branch(branch)
        if target.staged:
            raise Refusal(400, f"{branch}: uncommitted changes (dirty branch)")
        ours, theirs = state.commit(source), state.commits[target.commit]
        base = state.merge_base(ours.id, theirs.id)
        if ours.tree == base.tree and not wanted.get("allow_empty") and not wanted.get("force"):
            raise Refusal(400, "no changes")
        tree = {}
        for path in sorted({*ours.tree, *theirs.tree, *base.tree}):
            versions = base.tree.get(path), ours.tree.get(path), theirs.tree.get(path)
            entry = _merged(*versions, strategy=wanted.get("strategy") or "")
            if entry is not None:
                tree[path] = entry
        metadata = {**(wanted.get("metadata") or {}), ".lakefs.merge.strategy": wanted.get("strategy") or "default"}
        made = state.add((theirs.id, ours.id), tree, wanted.get("message") or "Merge", metadata)
        target.commit = made.id
        return 200, {"reference": made.id}

    def merge_base(self, name, source, branch, body):
        state = self._repository(name)
        ours, theirs = state.commit(source), state.commit(branch)
        base = state.merge_base(ours.id, theirs.id)
        return 200, {"source_commit_id": ours.id, "destination_commit_id": theirs.id, "base_commit_id": base.id}

    def tags(self, name, body):
        prefix = self.query.get("prefix", "")
        found = sorted(self._repository(name).tags.items())
        return self._page([{"id": tag, "commit_id": one} for tag, one in found if tag.startswith(prefix)], "id")

    def create_tag(self, name, body):
        state, wanted = self._repository(name), json.loads(body.read_bytes())
        if INVALID_TAG.search(wanted["id"]):
            raise Refusal(400, "tag id: invalid value")
        commit = state.commit(wanted["ref"])
        if wanted["id"] in state.tags:
            raise Refusal(409, "tag already exists: not unique")
        state.tags[wanted["id"]] = commit.id
        return 201, {"id": wanted["id"], "commit_id": commit.id}

    def tag(self, name, tag, body):
        state = self._repository(name)
        if tag not in state.tags:
            raise Refusal(404, "tag not found")
        return 200, {"id": tag, "commit_id": state.tags[tag]}

    def delete_tag(self, name, tag, body):
        self.tag(name, tag, body)
        del self._repository(name).tags[tag]
        return 204, None

    # -- objects

    def upload(self, name, branch, body):
        at = self._repository(name).writable(branch)
        if body is None:
            body = self.emulator.folder / uuid.uuid4().hex
            body.touch()
        with body.open("rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
        entry = at.staged[self.query["path"]] = Entry(str(body), digest, body.stat().st_size)
        return 201, _stats(self.query["path"], entry)

    def get(self, name, ref, body):
        entry = self._entry(name, ref)
        path = Path(entry.address)
        if not path.exists():
            raise Refusal(410, "No data")  # what is left when garbage collection has removed an object
        headers = {"ETag": f'"{entry.checksum}"', "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            return 200, path.read_bytes(), headers
        start, end = int(asked[1]), min(int(asked[2] or entry.size), entry.size - 1)
        if start >= entry.size:
            raise Refusal(416, "Requested Range Not Satisfiable", {"Content-Range": f"bytes */{entry.size}"})
        with path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(end - start + 1)
        return 206, data, {**headers, "Content-Range": f"bytes {start}-{end}/{entry.size}"}

    def stat(self, name, ref, body):
        return 200, _stats(self.query["path"], self._entry(name, ref))

    def _entry(self, name: str, ref: str) -> Entry:
        tree = self._repository(name).tree(ref)
        if self.query["path"] not in tree:
            raise Refusal(404, "object not found")
        return tree[self.query["path"]]

    def list(self, name, ref, body):
        tree, prefix = self._repository(name).tree(ref), self.query.get("prefix", "")
        delimiter, found = self.query.get("delimiter", ""), {}
        for path, entry in sorted(tree.items()):
            if path.startswith(prefix):
                head, cut, _ = path[len(prefix) :].partition(delimiter) if delimiter else (path, "", "")
                common = f"{prefix}{head}{cut}"
                found[common if cut else path] = (
                    {"path": common, "path_type": "common_prefix", "physical_address": "", "checksum": "", "mtime": 0}
                    if cut
                    else _stats(path, entry)
                )
        return self._page(list(found.values()), "path")

    def delete_objects(self, name, branch, body):
        at, paths = self._repository(name).writable(branch), json.loads(body.read_bytes())["paths"]
        if len(paths) > 1000:
            raise Refusal(500, "max number of objects to delete in one request is 1000")
        at.staged.update(dict.fromkeys(paths))
        return 200, {"errors": []}

    def copy(self, name, branch, body):
        state, wanted = self._repository(name), json.loads(body.read_bytes())
        at, tree = state.writable(branch), state.tree(wanted.get("src_ref") or branch)
        if wanted["src_path"] not in tree:
            raise Refusal(404, "object not found")
        entry = at.staged[self.query["dest_path"]] = tree[wanted["src_path"]]
        return 201, _stats(self.query["dest_path"], entry)


ROUTES = [
    ("GET", "/config", "config"),
    ("POST", "/repositories", "create_repository"),
    ("GET", "/repositories/([^/]+)", "repository"),
    ("GET", "/repositories/([^/]+)/settings/branch_protection", "protection"),
    ("PUT", "/repositories/([^/]+)/settings/branch_protection", "protect"),
    ("GET", "/repositories/([^/]+)/branches", "branches"),
    ("POST", "/repositories/([^/]+)/branches", "create_branch"),
    ("GET", "/repositories/([^/]+)/branches/([^/]+)", "branch"),
    ("DELETE", "/repositories/([^/]+)/branches/([^/]+)", "delete_branch"),
    ("POST", "/repositories/([^/]+)/branches/([^/]+)/commits", "commit"),
    ("GET", "/repositories/([^/]+)/commits/([^/]+)", "commit_at"),
    ("GET", "/repositories/([^/]+)/refs/([^/]+)/commits", "log"),
    ("POST", "/repositories/([^/]+)/refs/([^/]+)/merge/([^/]+)", "merge"),
    ("GET", "/repositories/([^/]+)/refs/([^/]+)/merge/([^/]+)", "merge_base"),
    ("GET", "/repositories/([^/]+)/tags", "tags"),
    ("POST", "/repositories/([^/]+)/tags", "create_tag"),
    ("GET", "/repositories/([^/]+)/tags/([^/]+)", "tag"),
    ("DELETE", "/repositories/([^/]+)/tags/([^/]+)", "delete_tag"),
    ("POST", "/repositories/([^/]+)/branches/([^/]+)/objects", "upload"),
    ("POST", "/repositories/([^/]+)/branches/([^/]+)/objects/delete", "delete_objects"),
    ("POST", "/repositories/([^/]+)/branches/([^/]+)/objects/copy", "copy"),
    ("GET", "/repositories/([^/]+)/refs/([^/]+)/objects", "get"),
    ("GET", "/repositories/([^/]+)/refs/([^/]+)/objects/stat", "stat"),
    ("GET", "/repositories/([^/]+)/refs/([^/]+)/objects/ls", "list"),
]


def _merged(base: Entry | None, source: Entry | None, target: Entry | None, strategy: str) -> Entry | None:
    """The table of lakeFS's documentation, "Merge"."""
    if source in (target, base):
        return target
    if target == base or strategy == "source-wins":
        return source
    if strategy == "dest-wins":
        return target
    raise Refusal(409, "conflict found")


def _repository(name: str, state: RepositoryState) -> dict:
    return {"id": name, "creation_date": 0, "default_branch": "main", "storage_namespace": state.namespace}


def _stats(path: str, entry: Entry) -> dict:
    return {
        "path": path,
        "path_type": "object",
        "physical_address": f"local://emulated/{Path(entry.address).name}",
        "checksum": entry.checksum,
        "size_bytes": entry.size,
        "mtime": 0,
        "content_type": "application/octet-stream",
    }


if __name__ == "__main__":
    folder = Path(os.environ["LAKEFS_BLOCKSTORE_LOCAL_PATH"])
    folder.mkdir(parents=True, exist_ok=True)
    keys = (os.environ[f"LAKEFS_INSTALLATION_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    Emulator(folder, int(os.environ["LAKEFS_LISTEN_ADDRESS"].rpartition(":")[2]), *keys)
    signal.pause()

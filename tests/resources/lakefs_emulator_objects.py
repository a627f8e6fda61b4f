"""The operations of lakeFS's REST API on objects, as the emulator has them."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path

from lakefs_emulator_state import Entry, Refusal, RepositoryState


class Objects:
    """One request's operation. Each gives (status, JSON, text or bytes), and may give headers.

    query, headers: the request's. repositories: the state. folder: holds contents, and bodies of requests.
    """

    query: dict[str, str]
    headers: Mapping[str, str]
    repositories: dict[str, RepositoryState]
    folder: Path

    def _repository(self, name: str) -> RepositoryState:
        if name not in self.repositories:
            raise Refusal(404, "repository not found")
        return self.repositories[name]

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

    def upload(self, name, branch, body):
        at = self._repository(name).writable(branch)
        if body is None:
            body = self.folder / uuid.uuid4().hex
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

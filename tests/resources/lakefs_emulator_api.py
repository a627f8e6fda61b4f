"""The operations of lakeFS's REST API on repositories, branches, tags and commits, as the emulator has them; all
routes."""

from __future__ import annotations

import json
import re

from lakefs_emulator_objects import Objects
from lakefs_emulator_state import BranchState, Refusal, RepositoryState, merged

BRANCH_ID, REPOSITORY_ID = re.compile(r"\w[-\w]*", re.ASCII), re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
INVALID_TAG = re.compile(r"^@$|\.$|\.lock$|\.\.|/|@\{|[\^:?*\[\\]|[\x00-\x20]|^$")


class Api(Objects):
    """One request's operation: `ROUTES` says which of its methods answers."""

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
        if name in self.repositories:
            raise Refusal(409, "error creating repository: not unique")
        state = self.repositories[name] = RepositoryState(wanted["storage_namespace"])
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
            entry = merged(*versions, strategy=wanted.get("strategy") or "")
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


def _repository(name: str, state: RepositoryState) -> dict:
    return {"id": name, "creation_date": 0, "default_branch": "main", "storage_namespace": state.namespace}

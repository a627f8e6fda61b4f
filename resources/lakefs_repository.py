"""What the store needs of one lakeFS repository: branches, tags and commits; each operation is safe to repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llm_assets.errors import UserError
from resources.lakefs_client import GONE, TIMEOUT, Access, LakeFSError, call, connect, pages
from resources.store import MAIN


@dataclass(frozen=True)
class Repository:
    """A repository of a server. Names of branches are ours (`run/1`); those on the server are `branch_id` of them."""

    access: Access
    name: str

    @property
    def api(self) -> Any:
        return connect(self.access).sdk_client

    def do(self, what: str, operation: Any, *arguments: Any, **keywords: Any) -> Any:
        return call(self.access, what, operation, self.name, *arguments, _request_timeout=TIMEOUT, **keywords)

    def look(self, what: str, operation: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `do`; None when it is not there."""
        try:
            return self.do(what, operation, *arguments, **keywords)
        except LakeFSError as error:
            if error.status in GONE:
                return None
            raise

    def _every(self, what: str, listing: Any, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        """Every result of a listing; nothing where there is no repository yet."""
        try:
            yield from pages(self.access, what, listing, self.name, *arguments, **keywords)
        except LakeFSError as error:
            if error.status not in GONE:
                raise

    # -- the repository itself --------------------------------------------------------------------------------------

    def exists(self) -> bool:
        return self.look(f"look for the repository {self.name}", self.api.repositories_api.get_repository) is not None

    def create(self, namespace: str) -> None:
        """Make it, with `main` protected: only merges move it. Another process may be doing the same."""
        from lakefs_sdk.models import RepositoryCreation

        creation = RepositoryCreation(name=self.name, storage_namespace=namespace or self._namespace())
        creation.default_branch = MAIN
        what = f"make the repository {self.name}"
        try:
            call(self.access, what, self.api.repositories_api.create_repository, creation, _request_timeout=TIMEOUT)
        except LakeFSError as error:
            if error.status != 409:
                raise
        self.protect()

    def protect(self) -> None:
        from lakefs_sdk.models import BranchProtectionRule

        rules = [BranchProtectionRule(pattern=MAIN)]
        self.do(f"protect {MAIN}", self.api.repositories_api.set_branch_protection_rules, rules)

    def protected(self) -> bool:
        rules = self.do("read the branch protection", self.api.repositories_api.get_branch_protection_rules)
        return any(rule.pattern == MAIN for rule in rules)

    def _namespace(self) -> str:
        """Where the server suggests that a new repository's objects lie."""
        storage = storage_of(self.access)
        if storage.default_namespace_prefix:
            prefix = storage.default_namespace_prefix
            return f"{prefix}{'' if prefix.endswith('/') else '/'}{self.name}"
        if storage.blockstore_type in ("local", "mem"):
            return f"{storage.blockstore_type}://{self.name}"
        raise UserError(
            f"a new repository of lakeFS at {self.access.endpoint} needs a place for its objects: set "
            f"store.storage_namespace in the recipe (for example {storage.blockstore_namespace_example})"
        )

    # -- branches, tags, commits --------------------------------------------------------------------------------------

    def head(self, branch: str) -> str | None:
        """The commit a branch is at."""
        found = self.look(f"look for the branch {branch}", self.api.branches_api.get_branch, branch_id(branch))
        return found.commit_id if found else None

    def branches(self, prefix: str = "") -> dict[str, str]:
        """Branch -> the commit it is at."""
        listing = self.api.branches_api.list_branches
        found = self._every("list the branches", listing, prefix=branch_id(prefix), show_hidden=True)
        return {branch_name(item.id): item.commit_id for item in found}

    def create_branch(self, branch: str, source: str, hidden: bool = False) -> None:
        """Start a branch at a commit; it may be there already."""
        from lakefs_sdk.models import BranchCreation

        creation = BranchCreation(name=branch_id(branch), source=source, hidden=hidden)
        try:
            self.do(f"start the branch {branch}", self.api.branches_api.create_branch, creation)
        except LakeFSError as error:
            if error.status != 409:
                raise

    def delete_branch(self, branch: str) -> None:
        self.look(f"delete the branch {branch}", self.api.branches_api.delete_branch, branch_id(branch))

    def tag(self, name: str) -> str | None:
        """The commit of a tag."""
        found = self.look(f"look for the tag {name}", self.api.tags_api.get_tag, name)
        return found.commit_id if found else None

    def tags(self, prefix: str) -> dict[str, str]:
        found = self._every("list the tags", self.api.tags_api.list_tags, prefix=prefix)
        return {item.id: item.commit_id for item in found}

    def create_tag(self, name: str, commit: str) -> bool:
        """False when there is a tag of this name, whatever it names."""
        from lakefs_sdk.models import TagCreation

        try:
            self.do(f"set the tag {name}", self.api.tags_api.create_tag, TagCreation(id=name, ref=commit))
        except LakeFSError as error:
            if error.status != 409:
                raise
            return False
        return True

    def move_tag(self, name: str, commit: str) -> None:
        while not self.create_tag(name, commit):
            if self.tag(name) == commit:
                return
            self.delete_tag(name)

    def delete_tag(self, name: str) -> None:
        self.look(f"delete the tag {name}", self.api.tags_api.delete_tag, name)

    def commit_at(self, commit: str) -> Any:
        """A commit (id, parents, message, metadata, creation_date), or None."""
        return self.look(f"look for the commit {commit}", self.api.commits_api.get_commit, commit)

    def log(self, ref: str) -> Iterator[Any]:
        """The commits from `ref` back, by first parents."""
        return self._every(f"read the history of {ref}", self.api.refs_api.log_commits, ref, first_parent=True)

    def merge_base(self, commit: str, branch: str) -> str:
        what = f"find where {branch} and {commit} part"
        found = self.do(what, self.api.refs_api.find_merge_base, commit, branch_id(branch))
        return str(found.base_commit_id)

    def commit(self, branch: str, message: str, metadata: Mapping[str, str]) -> str:
        from lakefs_sdk.models import CommitCreation

        creation = CommitCreation(message=message, metadata=dict(metadata), allow_empty=True)
        found = self.do(f"commit to {branch}", self.api.commits_api.commit, branch_id(branch), creation)
        return str(found.id)

    def merge(
        self, commit: str, branch: str, message: str, metadata: Mapping[str, str] | None = None, empty: bool = True
    ) -> str:
        """Merge a commit into a branch; where both changed an object, the commit's wins. empty: allow no change."""
        from lakefs_sdk.models import Merge

        merge = Merge(message=message, metadata=dict(metadata or {}), strategy="source-wins", allow_empty=empty)
        merged = self.do(
            f"merge into {branch}", self.api.refs_api.merge_into_branch, commit, branch_id(branch), merge=merge
        )
        return str(merged.reference)


@lru_cache(maxsize=8)
def storage_of(access: Access) -> Any:
    """The server's own settings of its object store."""
    get_config = connect(access).sdk_client.config_api.get_config
    return call(access, "read the server's settings", get_config, _request_timeout=TIMEOUT).storage_config


def branch_id(branch: str) -> str:
    """A branch's name on the server, which has letters, digits, `-` and `_`: others become `_` and their hex code."""
    return re.sub(r"[^0-9A-Za-z-]|^-", lambda found: "".join(f"_{byte:02x}" for byte in found[0].encode()), branch)


def branch_name(identifier: str) -> str:
    """What `branch_id` made the identifier from; a branch that people made keeps its own name."""
    codes = re.compile("(?:_[0-9a-f]{2})+")
    try:
        return codes.sub(lambda found: bytes.fromhex(found[0].replace("_", "")).decode(), identifier)
    except UnicodeDecodeError:
        return identifier

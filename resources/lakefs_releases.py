"""Releases on lakeFS: the publications in the first-parent history of `main`, and the tags that name them."""

from __future__ import annotations

import re

from resources.lakefs_records import BRANCH, written_at
from resources.lakefs_repository import Repository
from resources.store import MAIN, Release


def publications(repository: Repository, name: bool = False) -> list[Release]:
    """The releases, newest first. A name is the place in the history of `main`, so publishers that tag at once agree.

    name: set the tags that are missing, also those of publishers that were killed before they did.
    """
    tags = {tag: commit for tag, commit in repository.tags("v").items() if re.fullmatch(r"v\d+", tag)}
    names = {commit: tag for tag, commit in tags.items()}
    found: list[Release] = []
    number = 0
    for item in reversed([item for item in repository.log(MAIN) if BRANCH in (item.metadata or {})]):
        number = int(names[item.id][1:]) if item.id in names else number + 1
        while tags.get(f"v{number}", item.id) != item.id:  # a tag that a person has set
            number += 1
        if name and item.id not in names:
            repository.create_tag(f"v{number}", item.id)
        found.append(Release(f"v{number}", item.id, written_at(item), item.metadata[BRANCH], item.message))
    return found[::-1]

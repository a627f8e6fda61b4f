"""Taking contents out of a `ContentCache`: all that no version on a list has.

Collecting garbage and forgetting are the same act on different lists, so nothing of a forgotten version survives in
what a killed writer left half-done or in what was set aside as damaged.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection

from llm_assets.errors import UserError
from resources.cache import ContentCache


def keep_only(cache: ContentCache, data_versions: Collection[str], dry_run: bool = False) -> int:
    """Remove everything but the contents of these versions; the bytes freed.

    The caller holds the cache's `removing`: nobody is adding, so what nothing names is nobody's. Raises UserError, and
    removes nothing, when the list of one of the versions is damaged: what it names would go with it.
    """
    kept = set(data_versions)
    for data_version in data_versions:
        try:
            kept |= {file.md5 for file in cache.files("an asset", data_version)}
        except UserError:
            raise UserError(
                f"Version {data_version} is to stay, but its file list ({cache.object(data_version)}) is damaged or "
                "missing, so its files cannot be told from garbage: no content was removed. Materialize it again, or "
                "erase it."
            ) from None
    gone = [path for path in cache.objects.glob("*/*") if path.parent.name + path.name not in kept]
    freed = sum(path.stat().st_size for path in gone)
    if not dry_run:
        for folder in (cache.root / "checkouts").glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder)
        for path in gone:
            path.unlink()
    return freed

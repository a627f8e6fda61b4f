"""What tells that a source has changed, without reading it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from llm_assets.data.sources.config import Feedback, Files, HuggingFace, InstalledPackages, Source, Web
from llm_assets.data.sources.read import PROJECT


def sources_state(sources: Sequence[Source], home: Path, root: Path = PROJECT) -> str:
    """What changes when a source does. Cheap: nothing is parsed, and no site is asked.

    Versions of packages; digests of files and local datasets (computed once a size and time of change). Hub, web and
    a database without `key_column` count as changed when `refresh_hours` have gone by, and never without; a database
    with one, when its greatest key is another.
    """
    return ";".join(_state(source, home, root) for source in sources)


def _state(source: Source, home: Path, root: Path) -> str:
    if isinstance(source, InstalledPackages):
        from llm_assets.data.sources.packages import packages_state

        return packages_state(source)
    if isinstance(source, Feedback):
        from llm_assets.data.sources.feedback import feedback_state

        return feedback_state(source, home)
    if isinstance(source, Files):
        from llm_assets.data.sources.files import files_state

        return files_state(source, root)
    if isinstance(source, HuggingFace):
        from llm_assets.data.sources.huggingface import huggingface_state

        return huggingface_state(source, root)
    if isinstance(source, Web):
        return refresh_window(source.refresh_hours)
    from llm_assets.data.sources.sql import sql_state

    return sql_state(source, root)


def refresh_window(hours: float | None) -> str:
    """Another text after each so many hours, the same on every machine; "" for never."""
    return "" if hours is None else f"{hours:g}h:{int(time.time() // (hours * 3600))}"

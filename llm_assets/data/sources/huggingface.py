"""Datasets of the Hugging Face hub, of a local folder or of a file, streamed with `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.sources.config import HuggingFace
from llm_assets.data.sources.files import file_digest
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.state import refresh_window
from llm_assets.data.sources.tables import from_record
from llm_assets.errors import UserError


def read_huggingface(source: HuggingFace, root: Path, progress: Progress = no_progress) -> Iterator[Found]:
    """One document per row; class numbers become their names.

    A hub id is streamed; with HF_HUB_OFFLINE set it is read from what `datasets` has prepared on this machine.
    """
    local = local_dataset(source, root)
    rows = _load(source, local)
    wanted = [source.text_column, *filter(None, (source.label_column, source.date_column))]
    features = rows.features
    names = _class_names(features, source.label_column)
    if features is not None:
        rows = rows.select_columns([column for column in dict.fromkeys(wanted) if column in features])
        for column in wanted:
            if column not in features:
                raise UserError(
                    f"{source.dataset}: no column {column!r}; it has {', '.join(features)}. "
                    "Set text_column, label_column and date_column of the source"
                )
    place = f"file://{source.dataset}" if local else f"hf://datasets/{source.dataset}"
    if source.revision and not local:
        place += f"@{source.revision}"
    place += f"/{source.subset}/{source.part}" if source.subset else f"/{source.part}"
    number = 0
    try:
        for number, row in enumerate(rows, 1):
            found = from_record(f"{place}#{number}", row, source)
            if names is not None and isinstance(found.label, int):
                found = found._replace(label=names[found.label] if 0 <= found.label < len(names) else None)
            yield found
            if number % 1000 == 0:
                progress(0 if source.max_rows is None else number / source.max_rows, 1, f"{number:,} rows")
            if number == source.max_rows:
                return
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{source.dataset}: cannot be read after row {number} ({_first_line(error)})") from None


def huggingface_state(source: HuggingFace, root: Path) -> str:
    """Digests of a local dataset's files; of the hub only the time (`revision` in the recipe pins the rest)."""
    local = local_dataset(source, root)
    if local is None:
        return refresh_window(source.refresh_hours)
    files = [local] if local.is_file() else sorted(path for path in local.rglob("*") if path.is_file())
    return ",".join(f"{path.relative_to(local)}:{file_digest(path)}" for path in files)


def local_dataset(source: HuggingFace, root: Path) -> Path | None:
    """The folder or file that a source names; None for a hub id."""
    path = root / source.dataset
    if path.exists():
        return path
    if source.dataset.startswith((".", "/")) or source.dataset.count("/") > 1:
        raise UserError(f"data.sources: there is no dataset at {path}; correct `dataset`")
    return None


def _load(source: HuggingFace, local: Path | None) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    arguments: dict[str, Any] = {"split": source.part, "streaming": bool(local) or not offline}
    try:
        if local and local.is_file():
            return load_dataset(_builder(local), data_files={source.part: str(local)}, **arguments)
        name = str(local) if local else source.dataset
        return load_dataset(name, source.subset, revision=None if local else source.revision, **arguments)
    except (DatasetNotFoundError, ConnectionError) as error:
        if local:
            raise UserError(f"{local}: no dataset ({_first_line(error)})") from None
        reason = "HF_HUB_OFFLINE is set and it is not in the cache" if offline else _first_line(error)
        raise UserError(
            f"dataset {source.dataset!r} of the Hugging Face hub cannot be had ({reason}); go online once, or name a "
            "folder or file on this machine"
        ) from None
    except (ValueError, OSError) as error:
        raise UserError(f"dataset {source.dataset!r}: {_first_line(error)}") from None


def _builder(path: Path) -> str:
    kinds = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".txt": "text", ".arrow": "arrow"}
    suffixes = [suffix for suffix in path.suffixes if suffix in kinds]
    if not suffixes:
        raise UserError(f"{path}: no dataset file; use one of {', '.join(kinds)}")
    return kinds[suffixes[-1]]


def _class_names(features: Any, column: str | None) -> list[str] | None:
    return getattr((features or {}).get(column), "names", None) if column else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]

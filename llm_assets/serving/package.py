"""The package being served: loading it beside the one in use, and the pointer that says which one that is."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import PACKAGE, read_json
from llm_assets.chat_format import render_chat
from llm_assets.errors import UserError

if TYPE_CHECKING:
    from llm_assets.inference.encoder_model import EncoderModel
    from llm_assets.inference.onnx_model import OnnxModel
    from llm_assets.prompts import PromptTemplate

log = logging.getLogger(__name__)

POINTER = "current.json"
RAW_MODEL = "llm-assets"
ROUTE = "route"  # the task of choosing a text's label, which an encoder has too


@dataclass(frozen=True, eq=False)
class Served:
    """A loaded package. digest: its data version. tasks: model name -> (task, prompt template)."""

    digest: str
    model: OnnxModel
    tasks: dict[str, tuple[str, PromptTemplate]]
    loaded_at: int

    @property
    def names(self) -> list[str]:
        return [RAW_MODEL, *self.tasks]


@dataclass(frozen=True, eq=False)
class ServedEncoder:
    """A loaded package of an encoder: it has no tasks, and one name."""

    digest: str
    model: EncoderModel
    loaded_at: int

    @property
    def names(self) -> list[str]:
        return [RAW_MODEL]

    @property
    def tasks(self) -> dict[str, tuple[str, PromptTemplate]]:
        return {}


def folder_hash(folder: Path) -> str:
    """sha256 of a folder's files and their names."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            total.update(f"{path.relative_to(folder)}\0{content}\n".encode())
    return total.hexdigest()


def read_pointer(endpoint: Path) -> dict[str, Any] | None:
    """What `current.json` says ({"package", "digest", "deployed_at", "sha256"}), or None when nothing is
    deployed.

    Raises UserError when it cannot be read.
    """
    path = endpoint / POINTER
    try:
        pointer = read_json(path)
        if not isinstance(pointer, dict) or not all(isinstance(pointer.get(key), str) for key in ("package", "digest")):
            raise ValueError("it names no package")
        return pointer
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}). Materialize deployed_endpoint again.") from None


def load_served(pointer: dict[str, Any], threads: int) -> Served | ServedEncoder:
    """Load, verify and warm the package a pointer names. Raises UserError when it is missing or damaged."""
    folder = Path(pointer["package"])
    if not (folder / PACKAGE).is_file():
        raise UserError(f"package {folder} is not there. Materialize deployed_endpoint again.")
    if "sha256" in pointer and folder_hash(folder) != pointer["sha256"]:
        raise UserError(f"package {folder} is not what was deployed. Materialize deployed_endpoint again.")
    encoder = is_encoder(read_json(folder / PACKAGE))
    return (_load_encoder if encoder else _load_decoder)(folder, pointer["digest"], threads)


def is_encoder(package: Mapping[str, Any]) -> bool:
    """Whether this is what an encoder's `package.json` says."""
    from llm_assets.inference.encoder_model import KIND

    return package.get("kind") == KIND


def _load_encoder(folder: Path, digest: str, threads: int) -> ServedEncoder:
    from llm_assets.inference.encoder_model import EncoderModel

    model = EncoderModel(folder, threads)
    model.encode([model.tokenizer.encode("warm").ids] * 2)
    return ServedEncoder(digest, model, int(time.time()))


def _load_decoder(folder: Path, digest: str, threads: int) -> Served:
    import numpy as np

    from llm_assets.inference.onnx_model import OnnxModel, cache_for
    from llm_assets.prompts import PromptTemplate

    model = OnnxModel(folder, threads)
    tasks = {
        f"{RAW_MODEL}-{task}": (task, PromptTemplate.model_validate(template))
        for task, template in sorted((model.package.get("tasks") or {}).items())
    }
    warm = model.tokenizer.encode(render_chat([{"role": "user", "content": "warm"}])).ids
    cache = cache_for(model, 2, len(warm) + 1)
    logits = model.read_prompts(cache, [warm, warm])
    model.decode(cache, logits.argmax(axis=1), np.array([len(warm)] * 2))
    return Served(digest, model, tasks, int(time.time()))


class PackageWatch:
    """Follows the pointer: a new package is loaded beside the old one, which serves until the new one can.

    `prepare` makes what else a package needs before it is served. One that cannot be loaded, or prepared (UserError),
    changes nothing but `error`; it is tried again when the pointer changes.
    """

    def __init__(
        self,
        endpoint: Path,
        threads: int,
        on_swap: Callable[[Served | ServedEncoder], None],
        prepare: Callable[[Served | ServedEncoder, Path], None],
        poll: float = 0.3,
    ) -> None:
        self.current: Served | ServedEncoder | None = None
        self.error: str | None = None
        self.refused: str | None = None  # `deployed_at` of the pointer that `error` is about
        self.loading = True
        self._endpoint, self._threads, self._poll = endpoint, threads, poll
        self._on_swap, self._prepare = on_swap, prepare
        self._seen: object = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="package-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()

    def _loop(self) -> None:
        while True:
            self._look()
            self.loading = False
            if self._stop.wait(self._poll):
                return

    def _look(self) -> None:
        pointer = None
        try:
            pointer = read_pointer(self._endpoint)
            if pointer == self._seen:
                return
            self._seen = pointer
            if pointer is None:
                return
            self.loading = self.current is None
            served = load_served(pointer, self._threads)
            self._prepare(served, Path(pointer["package"]))
            self.current = served
            self.error = self.refused = None
            self._on_swap(served)
            log.info("serving %s", served.digest)
        except Exception as error:  # whatever is wrong with a new package, the old one goes on serving
            message = str(error) or type(error).__name__
            if message != self.error:
                log.error("the package was not taken: %s", message)
            self.error, self.refused = message, pointer.get("deployed_at") if pointer else None

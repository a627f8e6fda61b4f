"""Train, validation, test and canary: by the hash of the id, so that a row never changes sides."""

from __future__ import annotations

import hashlib

from llm_assets.data.config import SplitConfig


def split_of(identity: str, config: SplitConfig) -> str:
    """The split of a row; no seed, since two recipes on the same data should agree on what is held out."""
    place = int.from_bytes(hashlib.sha256(f"split\n{identity}".encode()).digest()[:8], "big") / 2**64
    for name in ("canary", "test", "validation"):
        share = getattr(config, name)
        if place < share:
            return name
        place -= share
    return "train"

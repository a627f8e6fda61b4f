"""Train, validation, test and canary: by the hash of the id, so that a row never changes sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from llm_assets.data.config import SplitConfig


def splits_of(identities: Sequence[str], config: SplitConfig) -> list[str]:
    """The splits of rows by id; no seed, since two recipes on the same data should agree on what is held out."""
    shares = [("canary", config.canary), ("test", config.test), ("validation", config.validation)]
    found = []
    for identity in identities:
        place = int.from_bytes(hashlib.sha256(f"split\n{identity}".encode()).digest()[:8], "big") / 2**64
        for name, share in shares:
            if place < share:
                found.append(name)
                break
            place -= share
        else:
            found.append("train")
    return found

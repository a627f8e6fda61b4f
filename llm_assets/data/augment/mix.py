"""Text CutMix: a span of a text gives way to one of a text of another label, and the label is shared out.

CutMix (Yun et al., ICCV 2019, arXiv:1905.04899) on words: the share kept is drawn from Beta(beta, beta), then counted
in the words that were really kept. Cross-entropy is linear in its target, so the loss of the soft target is the sum of
two rows' losses: same text, one a label, weighted by the shares. Everything that reads rows can use them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_assets.data.rows import joined_licence
from llm_assets.data.spans import span_mix

if TYPE_CHECKING:
    import pyarrow as pa

POOL, TRIES = 20_000, 20
PARTNER = ("id", "text", "label", "licence")


@dataclass(frozen=True)
class Mixed:
    """One label's row of a mixed text."""

    text: str
    label: str
    share: float
    partner: str
    licence: str | None


class CutMixer:
    """Mixes rows with partners: labelled rows of the train split, at most `POOL`, their texts cut to size.

    texts: id -> text, of the partners that it used.
    """

    def __init__(self, partners: pa.Table) -> None:
        self.texts: dict[str, str] = {}
        self._rows = partners

    def mix(self, row: dict[str, Any], short: str, beta: float, rng: random.Random) -> list[Mixed]:
        """Two weighted parts of one mixed text; none where no partner of another label was found, or no word left."""
        for _ in range(TRIES if self._rows.num_rows else 0):
            partner = self._rows.slice(rng.randrange(self._rows.num_rows), 1).to_pylist()[0]
            if partner["label"] != row["label"] and partner["text"]:
                break
        else:
            return []
        text, share = span_mix(short, partner["text"], rng.betavariate(beta, beta), rng)
        if share == 1.0:
            return []
        self.texts[partner["id"]] = partner["text"]
        licence = joined_licence(row["licence"], partner["licence"])
        return [
            Mixed(text, row["label"], share, partner["id"], licence),
            Mixed(text, partner["label"], 1 - share, partner["id"], licence),
        ]

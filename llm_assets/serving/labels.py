"""Pairs of replies that people compare, and their votes.

`feedback/labels/pairs.jsonl` and `votes.jsonl` are only appended to: a vote is taken back by another line. What is
known of them is worked out from the files when it is asked for, so nothing is stale after an erasure.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from llm_assets.serving.append_log import append, read_lines
from llm_assets.serving.traffic import now

FOLDER = Path("feedback") / "labels"
PAIRS, VOTES = FOLDER / "pairs.jsonl", FOLDER / "votes.jsonl"
CHAT = "chat"  # the task of a pair without a template: its text is what the user said
Side = Literal["a", "b", "tie", "skip"]


@dataclass(frozen=True)
class Pair:
    """Two replies to one text. origin: "traffic" or "posted". digest: the package that gave them, where it did."""

    id: str
    task: str
    text: str
    a: str
    b: str
    origin: str
    digest: str | None = None


@dataclass(frozen=True)
class Vote:
    """shown: which reply was left, which right ("ab" or "ba")."""

    id: str
    pair: str
    reviewer: str
    choice: Side
    shown: str

    @property
    def position(self) -> str | None:
        """Where the chosen reply was; None for a tie or a skip."""
        return {0: "left", 1: "right"}.get(self.shown.find(self.choice)) if self.choice in ("a", "b") else None


def make_pair(task: str, text: str, replies: tuple[str, str], origin: str, digest: str | None = None) -> Pair:
    """Equal texts and replies give the equal pair, whichever reply comes first."""
    a, b = sorted(replies)
    name = hashlib.sha256("\0".join((task, text, a, b)).encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return Pair(name, task, text, a, b, origin, digest)


def add_pairs(home: Path, pairs: Iterable[Pair]) -> int:
    """Append those that are new, and whose replies differ; how many that were."""
    known, added = set(read_pairs(home)), 0
    for pair in pairs:
        if pair.id not in known and pair.a != pair.b:
            _append(home / PAIRS, asdict(pair) | {"at": now()})
            known.add(pair.id)
            added += 1
    return added


def add_vote(home: Path, pair: Pair, reviewer: str, choice: Side) -> Vote:
    vote = Vote(f"vote-{uuid.uuid4().hex}", pair.id, reviewer, choice, shown_order(pair.id, reviewer))
    _append(home / VOTES, asdict(vote) | {"at": now()})
    return vote


def undo_vote(home: Path, reviewer: str) -> Vote | None:
    """Take back this reviewer's last vote, and give it; None when there is none."""
    mine = [vote for vote in read_votes(home) if vote.reviewer == reviewer]
    if not mine:
        return None
    _append(home / VOTES, {"id": f"undo-{uuid.uuid4().hex}", "undo": mine[-1].id, "reviewer": reviewer, "at": now()})
    return mine[-1]


def read_pairs(home: Path) -> dict[str, Pair]:
    return {row["id"]: Pair(**{key: row[key] for key in Pair.__match_args__}) for row in _read(home / PAIRS)}


def read_votes(home: Path) -> list[Vote]:
    """The votes that count, oldest first: not taken back, and of each reviewer the last on a pair."""
    votes: dict[str, Vote] = {}
    for row in _read(home / VOTES):
        if "undo" in row:
            votes.pop(row["undo"], None)
        else:
            votes[row["id"]] = Vote(**{key: row[key] for key in Vote.__match_args__})
    last = {(vote.reviewer, vote.pair): vote.id for vote in votes.values()}
    return [vote for vote in votes.values() if last[vote.reviewer, vote.pair] == vote.id]


def shown_order(pair: str, reviewer: str) -> str:
    """Which reply this reviewer sees left: chance, yet the same whenever it is asked."""
    return "ba" if _chance(pair, reviewer, "order")[0] % 2 else "ab"


def next_pairs(pairs: Mapping[str, Pair], votes: Sequence[Vote], reviewer: str, wanted: int) -> list[Pair]:
    """What this reviewer has not seen and still wants votes, in an order of their own; first what others have judged,
    so that there is agreement to measure."""
    given = Counter(vote.pair for vote in votes if vote.choice != "skip")
    seen = {vote.pair for vote in votes if vote.reviewer == reviewer}
    left = [pair for pair in pairs.values() if pair.id not in seen and given[pair.id] < wanted]
    return sorted(left, key=lambda pair: (-given[pair.id], _chance(pair.id, reviewer, "queue")))


def verdicts(pairs: Mapping[str, Pair], votes: Sequence[Vote]) -> dict[str, Side]:
    """Pair -> the answer with more votes than any other; pairs without one are left out. Skips count for nothing."""
    counts: dict[str, Counter[Side]] = defaultdict(Counter)
    for vote in votes:
        if vote.pair in pairs and vote.choice != "skip":
            counts[vote.pair][vote.choice] += 1
    found: dict[str, Side] = {}
    for name, count in sorted(counts.items()):
        ranked = count.most_common(2)
        if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
            found[name] = ranked[0][0]
    return found


def preferred(home: Path) -> list[tuple[Pair, str, str]]:
    """(pair, chosen, rejected) of every pair with a verdict that is no tie, ordered by id."""
    pairs = read_pairs(home)
    return [
        (pairs[name], *((pairs[name].a, pairs[name].b) if side == "a" else (pairs[name].b, pairs[name].a)))
        for name, side in verdicts(pairs, read_votes(home)).items()
        if side != "tie"
    ]


def _chance(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def _append(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    append(path, record)


def _read(path: Path) -> list[dict[str, Any]]:
    return list(read_lines(path)) if path.exists() else []

"""Whether a degraded report starts a retrain: once for one degradation, and never in a storm."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from llm_assets.monitoring.config import RetrainConfig


@dataclass(frozen=True)
class Observation:
    """What the latest monitoring report says. champion: the digest it watched."""

    degraded: bool
    reasons: tuple[str, ...]
    champion: str


@dataclass
class Memory:
    """What is remembered between two looks; it lies in the sensor's cursor.

    runs: when retrains were asked for (ISO times, UTC). feedback: accepted rows the last one was taught with.
    """

    runs: list[str] = field(default_factory=list)
    feedback: int = 0

    @classmethod
    def load(cls, cursor: str | None) -> Memory:
        """A cursor that cannot be read counts as empty: it may cost one run, never a storm (run keys
        hold).
        """
        try:
            stored = json.loads(cursor or "{}")
            runs = [run for run in stored.get("runs", []) if _time(run) is not None]
            return cls(runs, int(stored.get("feedback", 0)))
        except (ValueError, TypeError, AttributeError):
            return cls()

    def dump(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Decision:
    retrain: bool
    why: str


def decide(
    seen: Observation | None,
    memory: Memory,
    settings: RetrainConfig,
    *,
    now: datetime,
    serving: str | None,
    in_flight: Sequence[str],
    feedback: int,
) -> Decision:
    """serving: the digest of the endpoint's pointer. in_flight: ids of retrain runs that are not over.
    feedback: rows of training data that people's feedback gives by now."""
    if seen is None:
        return Decision(False, "no monitoring report yet")
    if not seen.degraded:
        return Decision(False, f"{seen.champion[:12]} is as good as it should be")
    if serving != seen.champion:
        return Decision(False, f"the report is about {seen.champion[:12]}, which is not serving any more")
    if in_flight:
        return Decision(False, f"retrain run {in_flight[0][:8]} is in flight")
    past = [time for run in memory.runs if (time := _time(run)) is not None]
    # A clock that was set back must not hold retraining off for ever: times in the future count as now.
    last = min(max(past), now) if past else None
    cooldown = timedelta(minutes=settings.cooldown_minutes)
    if last is not None and now - last < cooldown:
        left = (cooldown - (now - last)).total_seconds() / 60
        return Decision(False, f"degraded ({', '.join(seen.reasons)}); in cooldown for another {left:.1f} min")
    spent = sum(now - time < timedelta(days=1) for time in past)
    if spent >= settings.daily_budget:
        return Decision(
            False,
            f"degraded ({', '.join(seen.reasons)}); the day's {settings.daily_budget} retrains are spent",
        )
    new = feedback - memory.feedback
    if new < settings.min_feedback:
        return Decision(
            False,
            f"degraded ({', '.join(seen.reasons)}); {new} new corrections, and a retrain needs {settings.min_feedback}",
        )
    return Decision(True, f"{seen.champion[:12]} degraded: {', '.join(seen.reasons)}")


def remember(memory: Memory, now: datetime, feedback: int) -> Memory:
    """The memory after a retrain was asked for; only the last day's runs are of use."""
    kept = [run for run in memory.runs if (time := _time(run)) is not None and now - time < timedelta(days=1)]
    return Memory([*kept, now.isoformat()], feedback)


def run_key(seen: Observation, feedback_digest: str) -> str:
    """The same champion, reasons and training feedback give the same model, so they start one run, ever."""
    told = json.dumps([seen.champion, sorted(seen.reasons), feedback_digest])
    return f"retrain-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text))
        return time if time.tzinfo else None
    except ValueError:
        return None

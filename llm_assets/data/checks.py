"""Limits on numbers of a row: the first that a row breaks is the reason why it goes."""

from __future__ import annotations

import numpy as np

from llm_assets.data.steps import Outcome

Check = tuple[str, np.ndarray, np.ndarray, float]  # rule, rows that break it, value by row, limit


def first_broken(checks: list[Check]) -> Outcome:
    """The outcome of checks in turn: a row's reason is the first it breaks."""
    import pyarrow as pa

    rows = len(checks[0][1])
    reason: list[str | None] = [None] * rows
    detail: list[str | None] = [None] * rows
    for name, broken, values, limit in checks:
        for row in np.flatnonzero(broken).tolist():
            if reason[row] is None:
                reason[row], detail[row] = name, f"{round(float(values[row]), 3):g}, the limit is {limit:g}"
    return Outcome(reason=pa.array(reason, pa.string()), detail=pa.array(detail, pa.string()))

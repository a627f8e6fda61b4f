"""What is kept: releases for ever, the branches of failed runs for some days, and what a run in flight works on."""

from __future__ import annotations

import time
from collections.abc import Collection

from resources.store import Garbage, ManagedStore

KEEP_DAYS = 14.0
DAY = 86_400


def collect(
    store: ManagedStore, in_flight: Collection[str] = (), keep_days: float = KEEP_DAYS, dry_run: bool = False
) -> Garbage:
    """Remove the branches of runs that ended more than `keep_days` ago, and what nothing kept refers to any more.

    A published run's branch says nothing that its release does not, so it goes at once. in_flight: branches of runs
    that are not over, which stay however old they are.
    """
    oldest = time.time() - keep_days * DAY
    keep = {
        branch.name
        for branch in store.branches()
        if branch.name in in_flight or (not branch.published and branch.at >= oldest)
    }
    return store.collect(keep, dry_run)

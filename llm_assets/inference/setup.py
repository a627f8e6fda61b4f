"""torch, set up so that equal inputs give equal results."""

from __future__ import annotations

import os
import random
import sys


def torch_setup(seed: int, threads: int) -> None:
    """Seed every generator, fix the thread count (it is part of what makes a sum equal) and refuse
    operations without a deterministic algorithm.

    OpenMP's threads are told to sleep, not spin, at a barrier, as far as torch is not loaded yet: beside any other
    busy process, spinning made a training step 4 to 12 times slower (two threads on two cores).
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling every new tensor with NaN finds reads of uninitialised memory; it costs time and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

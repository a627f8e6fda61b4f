"""Rotary tables are computed, not stored, for contexts of any length; other tables are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from llm_assets.compression.graph_edits import _compute_rotary


def graph(positions: int, change: float = 0.0) -> onnx.ModelProto:
    """A graph that holds the model builder's tables of so many positions, theta 10,000 and 32 pairs."""
    rates = 1.0 / 10_000 ** (torch.arange(0, 64, 2).float() / 64)
    angles = torch.outer(torch.arange(positions).float(), rates)
    tables = {"cos_cache": angles.cos(), "sin_cache": angles.sin() + change}
    stored = [numpy_helper.from_array(table.numpy(), name) for name, table in tables.items()]
    return helper.make_model(helper.make_graph([], "g", [], [], stored))


@pytest.mark.parametrize("positions", [96, 4096, 32_768])
def test_tables_of_any_length_are_computed(positions: int) -> None:
    model = graph(positions)
    _compute_rotary(model, 1.0)
    left = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert set(left) == {"rotary/positions", "rotary/rates", "rotary/factor"}
    assert left["rotary/positions"].ravel().tolist() == list(range(positions))
    assert np.allclose(left["rotary/rates"][0], 1 / 10_000 ** (np.arange(32) / 32), rtol=1e-5)


def test_what_are_no_cosines_and_sines_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no cosines and sines"):
        _compute_rotary(graph(96, change=0.001), 1.0)

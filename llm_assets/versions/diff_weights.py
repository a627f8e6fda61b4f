"""Two versions of a model's weights, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TensorDiff:
    """shape: of both (None where one has no such tensor). norm: Frobenius norm before and after.

    distance: Frobenius norm of the difference; relative: that over the norm before. Both None where the shapes differ.
    """

    name: str
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    norms: tuple[float | None, float | None]
    distance: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class WeightsDiff:
    """equal: tensors with the same values. changed: the others, the furthest from what it was first."""

    equal: int
    changed: list[TensorDiff]


Reader = Callable[[str], np.ndarray[Any, Any]]


def diff_weights(old: Path, new: Path) -> WeightsDiff:
    """Compare two `.safetensors` files, or the initialisers of two `.onnx` files; one tensor at a time is held."""
    open_ = _safetensors if old.suffix == ".safetensors" else _onnx
    (before, read_old), (after, read_new) = open_(old), open_(new)
    equal, changed = 0, []
    for name in sorted(before | after):
        a = read_old(name) if name in before else None
        b = read_new(name) if name in after else None
        if a is not None and b is not None and a.shape == b.shape and np.array_equal(a, b, equal_nan=True):
            equal += 1
        else:
            changed.append(_tensor(name, a, b))
    changed.sort(key=lambda item: (-(item.relative if item.relative is not None else float("inf")), item.name))
    return WeightsDiff(equal, changed)


def _tensor(name: str, a: np.ndarray[Any, Any] | None, b: np.ndarray[Any, Any] | None) -> TensorDiff:
    shapes = (a.shape if a is not None else None, b.shape if b is not None else None)
    norms = (_norm(a) if a is not None else None, _norm(b) if b is not None else None)
    if a is None or b is None or a.shape != b.shape:
        return TensorDiff(name, shapes, norms)
    distance = _norm(b.astype(np.float64) - a.astype(np.float64))
    return TensorDiff(name, shapes, norms, distance, distance / norms[0] if norms[0] else float("inf"))


def _norm(values: np.ndarray[Any, Any]) -> float:
    return float(np.sqrt(np.square(values.astype(np.float64)).sum()))


def _safetensors(path: Path) -> tuple[set[str], Reader]:
    """Names, and a reader of one tensor. Types that NumPy has not (bfloat16, float8) are read through torch."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = set(file.keys())

    def read(name: str) -> np.ndarray[Any, Any]:
        try:
            with safe_open(path, framework="np") as file:
                return np.asarray(file.get_tensor(name))
        except TypeError:
            with safe_open(path, framework="pt") as file:
                return np.asarray(file.get_tensor(name).float().numpy())

    return names, read


def _onnx(path: Path) -> tuple[set[str], Reader]:
    import onnx
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    return set(tensors), lambda name: np.asarray(numpy_helper.to_array(tensors[name]))

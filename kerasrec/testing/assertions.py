"""Assertions of the contract kit."""

from typing import Any

import keras
import numpy as np

from kerasrec.testing.cases import ModelCase


def demand(condition: bool, case: ModelCase, what: str) -> None:
    """Raise an AssertionError with the model and the broken requirement."""
    if not condition:
        raise AssertionError(f"{case.model.__name__}: {what}")


def same(actual: Any, expected: Any, case: ModelCase, what: str, bound: float = 1e-5) -> None:
    """Demand equal shapes, and numbers that differ by at most `bound` of the largest."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    demand(actual.shape == expected.shape, case, f"{what}: {actual.shape} {expected.shape}")
    difference = np.abs(actual - expected).max(initial=0.0)
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    demand(bool(difference <= bound * scale), case, f"{what}: off by {difference:.2e}")


def score(model: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the scores as an array."""
    return keras.ops.convert_to_numpy(model(inputs))


def shake(model: Any) -> None:
    """Set weights that are neither zero nor equal, biases included, so that no term is missed."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(rng.normal(scale=0.3, size=weight.shape))

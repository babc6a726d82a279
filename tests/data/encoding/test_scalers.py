import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.encoding.scalers import (
    MinMaxScaler,
    StandardScaler,
    fitted_scale,
    is_heavy_tailed,
    logarithm,
)


@pytest.mark.parametrize("scaler", [MinMaxScaler, StandardScaler])
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=20, unique=True))
@settings(max_examples=40, deadline=None)
def test_scalers_have_an_inverse_and_a_json_form(scaler, values):
    if max(values) - min(values) < 1e-2:
        values = [*values, max(values) + 1]
    fitted = scaler.fit(values)
    scaled = fitted.transform(values)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(fitted.inverse(scaled), values, atol=1e-3)
    assert scaler(**json.loads(json.dumps(dataclasses.asdict(fitted)))) == fitted


def test_scalers_by_hand():
    assert MinMaxScaler.fit([2, 6]).transform([[2, 3], [6, 8]]).tolist() == [[0, 0.25], [1, 1.5]]
    fitted = StandardScaler.fit([2, 4, 4, 4, 5, 5, 7, 9])
    assert (fitted.mean, fitted.deviation) == (5, 2)
    assert fitted.transform([9]).tolist() == [2]


@pytest.mark.parametrize("scaler", [MinMaxScaler, StandardScaler])
@pytest.mark.parametrize(
    "values, message",
    [
        ([], "at least one value"),
        ([[1, 2]], "the shape \\(1, 2\\)"),
        ([0.1] * 7, "constant column carries no information"),
        ([1, np.nan], "1 of 2 values are NaN or infinite"),
        ([1, np.inf], "1 of 2 values are NaN or infinite"),
        (["a"], "expected numbers"),
    ],
)
def test_scalers_refuse(scaler, values, message):
    with pytest.raises(ValueError, match=message):
        scaler.fit(values)


def test_fitted_scales_by_hand():
    numbers = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert fitted_scale(numbers) == (5, 2)
    assert fitted_scale(numbers, scaling="minmax") == (2, 7)
    assert fitted_scale(np.array([0.0, 3.0, 1.0]), True, "minmax") == pytest.approx((0, np.log(4)))
    assert fitted_scale(np.array([3.0, 3.0]), scaling="minmax") == (3, 1)


def test_logarithms_keep_signs_and_zeros():
    values = np.array([-7.0, 0.0, 1.0, 1e300])
    np.testing.assert_allclose(logarithm(values), [-np.log(8), 0, np.log(2), np.log(1e300)])
    mean, deviation = fitted_scale(np.array([0.0, 3.0]), log=True)
    assert (mean, deviation) == pytest.approx((np.log(2), np.log(2)))
    assert fitted_scale(np.array([3.0, 3.0]), log=True) == (np.log(4), 1.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.exp(np.random.default_rng(0).normal(3, 2, 500)), True),
        (-np.exp(np.random.default_rng(0).normal(3, 2, 500)), True),
        (np.random.default_rng(0).pareto(1.5, 5000) * 1e250, True),
        (np.random.default_rng(0).normal(size=500), False),
        (np.random.default_rng(0).uniform(0, 1e9, 500), False),
        (np.repeat([0.0, 1.0], [990, 10]), False),  # skewed, and no less by its logarithm
        (np.append(np.zeros(20), 1e6), False),  # a single row
        (np.full(100, 5.0), False),
        (np.full(100, 0.0), False),
        ([], False),
    ],
)
def test_heavy_tails(values, expected):
    assert is_heavy_tailed(np.array(values)) == expected

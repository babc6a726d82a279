import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.encoding.scalers import MinMaxScaler, StandardScaler


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

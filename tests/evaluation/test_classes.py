import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.evaluation.classes import class_metrics, metrics_of
from kerasrec.schema import Numeric, Schema


def test_numbers_by_hand():
    labels = np.array([0, 0, 1, 2])
    logits = np.log([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3], [0.3, 0.6, 0.1]])
    found = metrics_of(labels, logits + [[5.0], [-900.0], [0.0], [900.0]])  # shifts say nothing
    assert found["accuracy"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.2, 0.6, 0.1]).mean())
    # F1 of 0: one right of two, none wrong; of 1: one right, two wrong; of 2: none
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(2, 5), st.integers(0, 999))
def test_the_order_of_rows_and_classes_does_not_matter(rows, classes, seed):
    rng = np.random.default_rng(seed)
    labels, logits = rng.integers(0, classes, rows), rng.normal(size=(rows, classes))
    row, new = rng.permutation(rows), rng.permutation(classes)
    other = metrics_of(new[labels][row], logits[:, np.argsort(new)][row])
    assert other == pytest.approx(metrics_of(labels, logits))


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([], np.zeros((0, 3)), "a label for each row"),
        ([0, 1], np.zeros((3, 3)), r"shape \(2,\) and logits of shape \(3, 3\)"),
        ([0, 3], np.zeros((2, 3)), "labels from 0 to 2.*received 3"),
        ([0, -1], np.zeros((2, 3)), "received -1"),
        ([0, np.nan], np.zeros((2, 3)), "received nan"),
        ([0, 1], np.full((2, 3), np.nan), "finite logits"),
    ],
)
def test_bad_input(labels, logits, message):
    with pytest.raises(ValueError, match=message):
        metrics_of(np.array(labels), logits)


def test_a_model_is_called_in_batches():
    class Model:
        schema = Schema(context=Numeric("x"), label="kind")
        output_kind = "logits"

        def __call__(self, inputs, training=False):
            return np.stack([np.zeros(len(inputs["x"])), inputs["x"]], axis=1)

    columns = {"x": np.linspace(-1, 1, 11), "kind": (np.linspace(-1, 1, 11) > 0).astype("float32")}
    for size in (2, 4096):
        assert class_metrics(Model(), columns, batch_size=size)["accuracy"] == 1.0
    with pytest.raises(ValueError, match="expected a column 'kind'"):
        class_metrics(Model(), {"x": columns["x"]})

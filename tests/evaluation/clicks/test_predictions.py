import numpy as np
import pytest
from scipy.special import expit

from kerasrec.evaluation import click_metrics, log_loss, predict_clicks

ROWS = {"user": np.array([2, 3, 1]), "item": np.array([3, 2, 3]), "rating": np.array([1, 0, 1])}


def test_logits_and_probabilities_of_the_rows(table_model):
    model = table_model(np.log(np.arange(1.0, 17).reshape(4, 4)))
    found = predict_clicks(model, ROWS, batch_size=2)
    assert found.labels.tolist() == [1, 0, 1]
    assert found.logits == pytest.approx(np.log([12, 15, 8]))
    assert found.probabilities == pytest.approx(expit(found.logits))
    assert found.probabilities[0] == pytest.approx(12 / 13)
    loss = log_loss(found.labels, found.logits)
    assert click_metrics(model, ROWS)["log_loss"] == loss


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rating": np.array([1, 2, 0])}, "predict_clicks: column 'rating' expects .* 0 or 1"),
        ({"rating": None}, "expected a column 'rating'"),
    ],
)
def test_bad_input(changed, message, table_model):
    rows = {name: column for name, column in (ROWS | changed).items() if column is not None}
    with pytest.raises(ValueError, match=message):
        predict_clicks(table_model(np.zeros((4, 4))), rows)

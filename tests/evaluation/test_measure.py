import numpy as np
import pytest

from kerasrec.evaluation import rating_errors


def rows(items, labels):
    return {
        "user": np.full(len(items), 2),
        "item": np.array(items),
        "rating": np.array(labels, np.float32),
    }


TABLE = np.tile(np.arange(8.0), (4, 1))


def test_errors_by_hand(table_model):
    result = rating_errors(table_model(TABLE), rows([2, 5, 7], [2.0, 4.0, 4.0]))
    assert result["rmse"] == pytest.approx(np.sqrt((0 + 1 + 9) / 3))
    assert result["mae"] == pytest.approx((0 + 1 + 3) / 3)
    assert result["test_rows"] == 3


def test_clip(table_model):
    model = table_model(TABLE)
    result = rating_errors(model, rows([2, 7], [3.0, 4.0]), clip=(3, 5))
    assert result["mae"] == pytest.approx((0 + 1) / 2)


def test_batches_do_not_change_the_figures(table_model):
    rng = np.random.default_rng(0)
    columns = rows(rng.integers(2, 8, 100), rng.normal(size=100))
    model = table_model(TABLE)
    whole, parts = rating_errors(model, columns), rating_errors(model, columns, batch_size=7)
    assert whole == pytest.approx(parts)


def test_unknown_rows_count_and_are_counted(table_model):
    columns = rows([1, 5], [1.0, 4.0])
    columns["user"] = np.array([2, 1])
    result = rating_errors(table_model(TABLE), columns)
    assert (result["mae"], result["unknown_user_rows"], result["unknown_item_rows"]) == (0.5, 1, 1)


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        (rows([], []), {}, "at least one row"),
        (rows([5], [np.nan]), {}, "received NaN in 1 of 1 rows"),
        ({"user": np.array([2]), "item": np.array([2])}, {}, "expected a column 'rating'"),
        (rows([5], [1.0]), {"clip": (5, 1)}, r"\(lowest, highest\).*received \(5, 1\)"),
        (rows([5], [1.0]), {"batch_size": 0}, "batch_size must be an integer of at least 1"),
        (rows([9], [1.0]), {}, "from 0 to 7; received 9"),
    ],
)
def test_bad_input(table_model, columns, arguments, message):
    with pytest.raises(ValueError, match=message):
        rating_errors(table_model(TABLE), columns, **arguments)


def test_nan_scores(table_model):
    table = TABLE.copy()
    table[2, 5] = np.nan
    with pytest.raises(ValueError, match="gave NaN for 25.00% of a block of 4 scores"):
        rating_errors(table_model(table), rows([2, 3, 4, 5], [1, 1, 1, 1]))

import warnings

import numpy as np
import pytest

from kerasrec.data import (
    Interactions,
    global_time_split,
    leave_last_out,
    predefined_split,
    random_split,
)
from kerasrec.evaluation import (
    Candidates,
    ProtocolWarning,
    check_features,
    check_ranking,
    check_split,
    compare,
    evaluate,
    rank,
)
from kerasrec.schema import Categorical, Numeric, Schema

SCHEMA = Schema(Categorical("user", 5), Categorical("item", 8))


def rows(users, items, times):
    return Interactions.from_table(
        {"user_id": users, "item_id": items, "timestamp": times},
        label=None,
        duplicates="keep",
    )


def columns(pairs):
    pairs = np.array(pairs, np.int32).reshape(-1, 2)
    return {"user": pairs[:, 0], "item": pairs[:, 1]}


def test_a_clean_split_is_silent():
    data = rows([1, 1, 2, 2], [5, 6, 5, 7], [1, 2, 3, 4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_split(global_time_split(data, valid=0.25, test=0.25)) == []


def test_the_future_in_train():
    # User 1 trains at 1 and is tested at 2; user 2 trains at 3, which is later, and tests at 4.
    data = rows([1, 1, 2, 2], [5, 6, 5, 7], [1, 2, 3, 4])
    with pytest.warns(ProtocolWarning, match="50% of training rows follow the first test"):
        (found,) = check_split(leave_last_out(data, valid=0, test=1))
    assert "\n" not in found
    assert len("Warning: " + found) <= 80
    train, test = rows(["a", "b"], [5, 5], [9, 1]), rows(["b", "a"], [7, 6], [8, 2])
    with pytest.warns(ProtocolWarning):
        _, earlier = check_split(predefined_split(train, test))
    assert earlier.startswith("1 test rows of 1 users are earlier than a training row of the same")


def test_test_rows_in_train():
    data = rows([1, 1, 1, 2], [5, 5, 6, 5], [1, 3, 2, 4])
    with pytest.warns(ProtocolWarning, match="1 of 2 test rows have their .* in train as well"):
        check_split(predefined_split(data.take([0, 2]), data.take([1, 3])))


def test_the_default_split_is_warned_of_once():
    data = rows(np.repeat([1, 2], 10), np.tile(np.arange(10), 2), np.arange(20))
    with pytest.warns(ProtocolWarning) as caught:
        (found,) = check_split(leave_last_out(data))
    assert len(caught) == 1
    assert found == "50% of training rows follow the first test row; use global_time_split."


def test_few_later_rows_are_counted_and_not_rounded_to_none():
    data = rows([1] * 300 + [2, 2], [*range(300), 5, 6], [*range(300), -5, 298])
    with pytest.warns(ProtocolWarning):
        found = check_split(predefined_split(data.take(range(301)), data.take([301])))
    assert found[0].startswith("1 training rows follow the first test row")


def test_valid_is_held_against_train_where_there_is_no_test():
    data = rows(np.repeat([1, 2], 10), np.tile(np.arange(10), 2), np.arange(20))
    with pytest.warns(ProtocolWarning) as caught:
        check_split(random_split(data, valid=0.3, test=0.0, seed=1))
    assert "follow the first valid row" in str(caught[0].message)
    assert "valid rows of 2 users are earlier" in str(caught[1].message)


def test_no_time_no_verdict_on_time():
    data = Interactions.from_table(
        {"user_id": [1, 1, 2], "item_id": [5, 6, 5]}, label=None, time=None
    )
    assert check_split(random_split(data, valid=0.0, test=0.4)) == []


def test_a_clean_ranking_is_silent():
    test, train = columns([(2, 3), (3, 4)]), columns([(2, 4)])
    every = np.arange(2, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_ranking(SCHEMA, test, seen=train) == []
        assert check_ranking(SCHEMA, test, seen=[train], candidates=every) == []


def test_what_a_ranking_is_warned_of():
    test, train = columns([(2, 3), (3, 4), (1, 4)]), columns([(2, 3), (2, 4), (1, 4)])
    with pytest.warns(ProtocolWarning, match="no seen items are removed"):
        check_ranking(SCHEMA, test, seen=None)
    with pytest.warns(ProtocolWarning, match="1 of 3 test rows are in `seen`"):
        check_ranking(SCHEMA, test, seen=train)
    with pytest.warns(ProtocolWarning, match="the 3 items that are ranked are fewer than the 6"):
        check_ranking(SCHEMA, test, seen=columns([(3, 2)]), candidates=np.arange(2, 5))
    given = np.full((3, 2), 5)
    with pytest.warns(ProtocolWarning, match="2 given candidates are ranked instead of the 6"):
        check_ranking(SCHEMA, test, seen=columns([(3, 2)]), candidates=given)
    with pytest.warns(ProtocolWarning, match=r"2 uniform \(seed 0\) candidates"):
        drawn = Candidates(given, "uniform (seed 0)")
        check_ranking(SCHEMA, test, seen=columns([(3, 2)]), candidates=drawn)


def test_evaluate_warns_and_rank_does_not(table_ranker):
    model = table_ranker(np.tile(np.arange(8.0), (5, 1)))
    test = columns([(2, 3)])
    with pytest.warns(ProtocolWarning, match="no seen items"):
        figures = evaluate(model, test, seen=None, k=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figures == rank(model, test, seen=None, k=1).summary()


def test_compare_warns_once_for_all_models(table_ranker):
    model = table_ranker(np.tile(np.arange(8.0), (5, 1)))
    train = columns([(2, 3), (3, 4)])
    with pytest.warns(ProtocolWarning) as caught:
        compare({"a": model, "b": model}, train, seen=train, k=1)
    assert len(caught) == 1


@pytest.mark.parametrize(("of", "warned"), [("item", True), ("user", False), ("row", False)])
def test_a_context_that_tells_the_item_is_warned_of(of, warned):
    test = columns([(user, item) for user in range(2, 10) for item in range(2, 8)])
    test["kind"] = {"item": test["item"] % 3, "user": test["user"] % 3, "row": np.arange(48) % 5}[
        of
    ]
    schema = Schema(Categorical("user", 10), Categorical("item", 8), Categorical("kind", 9))
    seen = columns([(2, 2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProtocolWarning)
        found = check_ranking(schema, test, seen=seen)
    assert any("context feature 'kind' has one value" in text for text in found) == warned


def label_rows(count=400, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype(np.float32)
    return rng, labels


def test_a_number_that_tells_the_label_is_found():
    rng, labels = label_rows()
    schema = Schema(context=[Numeric("age"), Numeric("paid", mean=5.0)], label="bought")
    paid = np.where(labels == 1, rng.uniform(1, 9, 400), 0).astype(np.float32)
    columns = {"age": rng.normal(size=400).astype(np.float32), "paid": paid, "bought": labels}
    with pytest.warns(ProtocolWarning, match="'paid' alone tells the label 'bought' with AUC 1.0"):
        assert len(check_features(columns, schema)) == 1
    columns["paid"] = -paid  # in the other direction as well
    with pytest.warns(ProtocolWarning, match="'paid' alone"):
        check_features(columns, schema)


def test_a_category_is_judged_by_other_rows_with_it():
    rng, labels = label_rows()
    schema = Schema(context=[Categorical("page", 9), Categorical("row", 500)], label="click")
    page = np.where(labels == 1, rng.integers(2, 5, 400), rng.integers(5, 9, 400))
    # Every row has an id of its own, which says nothing of another row.
    columns = {"page": page, "row": np.arange(2, 402), "click": labels}
    with pytest.warns(ProtocolWarning) as found:
        assert len(check_features(columns, schema)) == 1
    assert "'page' alone" in str(found[0].message)


def test_clean_columns_missing_numbers_and_equal_labels_pass():
    rng, labels = label_rows()
    schema = Schema(context=[Numeric("age"), Numeric("picture", 3)], label="click")
    age = rng.normal(size=400).astype(np.float32)
    age[::3] = np.nan
    columns = {"age": age, "picture": np.ones((400, 3), np.float32), "click": labels}
    with warnings.catch_warnings(action="error"):
        assert check_features(columns, schema) == []
        assert check_features({**columns, "click": np.ones(400)}, schema) == []
    with pytest.raises(ValueError, match="expected a column 'picture'"):
        check_features({"age": age, "click": labels}, schema)

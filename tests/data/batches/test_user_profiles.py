import numpy as np
import pytest

from kerasrec.data.batches.user_profiles import user_profiles
from kerasrec.schema import Categorical, Schema

SCHEMA = Schema(
    user=Categorical("user", 6), item=Categorical("item", 9), label="rating", positive=">=4"
)
COLUMNS = {
    "user": np.array([2, 4, 2, 2, 1, 5, 5, 2]),
    "item": np.array([7, 5, 6, 7, 3, 1, 8, 2]),
    "rating": np.float32([5, 4, 4, 5, 5, 5, 4, 1]),
}


def rows(dataset, name="items"):
    return [row[row > 0].tolist() for batch in dataset for row in batch[name].numpy()]


def test_one_row_of_positives_for_each_user():
    made = user_profiles(COLUMNS, SCHEMA, batch_size=2, shuffle=False)
    batches = [batch["items"].numpy() for batch in made]
    # Unknown ids, repeated pairs and the rating of 1 are left out; user 3 has no row.
    assert [batch.tolist() for batch in batches] == [[[6, 7], [5, 0]], [[8, 0]]]
    assert batches[0].dtype == np.int32 and int(made.cardinality()) == 2


def test_each_epoch_has_an_order_that_can_be_repeated():
    columns = {"user": np.arange(2, 50), "item": np.arange(2, 50)}
    schema = Schema(user=Categorical("user", 50), item=Categorical("item", 50))
    made = user_profiles(columns, schema, batch_size=10, seed=1)
    one, two = rows(made), rows(made)
    assert one != two and sorted(one) == sorted(two) == [[item] for item in range(2, 50)]
    made.go_to_pass(0)
    assert rows(made) == one
    assert rows(user_profiles(columns, schema, batch_size=10, seed=2)) != one


def test_held_out_items_are_predicted_from_those_before():
    later = {"user": np.array([5, 4, 3]), "item": np.array([2, 1, 6]), "rating": np.full(3, 5.0)}
    made = user_profiles(later, SCHEMA, batch_size=4, seen=COLUMNS, shuffle=False)
    # The item of user 4 is unknown, and user 3 has nothing to read.
    assert rows(made) == [[8]] and rows(made, "targets") == [[2]]


def test_bad_input():
    with pytest.raises(ValueError, match="user_profiles: missing column 'item'"):
        user_profiles({"user": np.array([2])}, SCHEMA, batch_size=1)
    unknown = {"user": np.array([1]), "item": np.array([5])}
    with pytest.raises(ValueError, match="user_profiles: no user has known items"):
        user_profiles(unknown, SCHEMA, batch_size=1)
    with pytest.raises(ValueError, match="user_profiles: batch_size must be an integer"):
        user_profiles(COLUMNS, SCHEMA, batch_size=0)

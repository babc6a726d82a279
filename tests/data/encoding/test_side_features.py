import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Buckets, Interactions, leave_last_out, prepare
from kerasrec.data.encoding.columns import SideColumn
from kerasrec.schema import Bag, Categorical, Hashed, Numeric

# Every user has three rows, so leave_last_out trains on the first one alone.
USERS = {
    "user_id": [9, 7, 5],
    "age": [30.0, 20.5, None],
    "sex": ["F", "M", "F"],
    "city": ["Rome", "Oslo", "Bern"],
}
ITEMS = {
    "item_id": ["a", "b", "c", "d", "z"],
    "price": [1.0, 3.5, None, 2.0, 99.5],
    "genres": ["War|Drama", "Drama", "", "War", "Western"],
    "picture": [[0.5, 1.5], [2.5, 3.5], None, [4.5, 5.5], [9.5, 9.5]],
}


def rows(users=USERS, items=ITEMS, **more):
    columns = {
        "user_id": [7, 7, 7, 9, 9, 9, 5, 5, 5],
        "item_id": list("abcbacdcb"),
        "rating": [4, 5, 1, 3, 4, 4, 2, 3, 1],
        "timestamp": [1, 2, 3] * 3,
    }
    options = {"users": users, "items": items, "missing_sides": "unknown"}
    context = tuple(name for name in more if name not in options)
    return Interactions.from_table(columns | more, context=context, **options)


def test_one_row_for_each_encoded_id():
    ready = prepare(rows())
    assert ready.vocabularies["user_id"].ids.tolist() == [7, 9, 5]
    assert ready.vocabularies["item_id"].ids.tolist() == ["a", "b", "c", "d"]
    users, items, nan = ready.users, ready.items, np.nan
    np.testing.assert_array_equal(users["age"], np.float32([nan, nan, 20.5, 30, nan]))
    assert ready.vocabularies["sex"].ids.tolist() == ["F", "M"]
    assert users["sex"].tolist() == [0, 1, 3, 2, 2] and users["user_id"].tolist() == list(range(5))
    np.testing.assert_array_equal(items["price"], np.float32([nan, nan, 1, 3.5, nan, 2]))
    assert ready.vocabularies["genres"].ids.tolist() == ["War", "Drama"]  # z is no training item
    assert items["genres"].tolist() == [[0, 0], [0, 0], [2, 3], [3, 0], [0, 0], [2, 0]]
    pictures = [[nan, nan], [0.5, 1.5], [nan, nan]]
    np.testing.assert_array_equal(items["picture"][[1, 2, 4]], np.float32(pictures))
    assert {name: values.dtype.name for name, values in (users | items).items()} == {
        "user_id": "int32",
        "age": "float32",
        "sex": "int32",
        "item_id": "int32",
        "price": "float32",
        "genres": "int32",
        "picture": "float32",
    }


def test_scales_are_those_of_the_training_rows_and_part_of_the_schema():
    schema = prepare(rows()).schema
    assert schema.user[1] == Numeric("age", mean=25.25, deviation=4.75)
    price = schema.feature("price")
    assert (price.mean, price.deviation) == pytest.approx((6.5 / 3, np.std([1, 3.5, 2])))
    picture = schema.feature("picture")
    assert (picture.size, picture.mean) == (2, 3.0)  # one mean for all numbers of a vector
    assert picture.deviation == pytest.approx(np.std([0.5, 1.5, 2.5, 3.5, 4.5, 5.5]))
    assert isinstance(schema.feature("genres"), Bag) and isinstance(schema.user[2], Categorical)
    assert schema.time == "timestamp"


def test_rows_carry_the_features_without_taking_memory():
    ready = prepare(leave_last_out(rows()))
    for part in (ready.train, ready.valid, ready.test):
        for name, table in (("age", ready.users), ("genres", ready.items)):
            own = "user_id" if name == "age" else "item_id"
            assert isinstance(part[name], SideColumn) and part[name].ids is part[own]
            np.testing.assert_array_equal(np.asarray(part[name]), table[name][part[own]])
            some = part[name].take(np.array([1, 0]))
            np.testing.assert_array_equal(some[:], table[name][part[own][[1, 0]]])
            assert part[name].shape == (len(part[own]), *table[name].shape[1:])
            assert part[name].size == np.asarray(part[name]).size


def test_what_each_column_is_taken_for_is_said():
    assert prepare(rows()).notes == (
        "user 'age' is numeric: 2 numbers from 20.5 to 30",
        "user 'sex' is categorical: 2 values",
        "user 'city' is left out: almost all values differ",
        "item 'price' is numeric: 3 numbers from 1 to 3.5",
        "item 'genres' is bag: 2 values, up to 2 in a row",
        "item 'picture' is vector: vectors of 2 numbers",
    )


def test_features_are_chosen_by_name_and_kind():
    assert prepare(rows(), features=[]).schema == prepare(rows(None, None)).schema
    ready = prepare(rows(), features={"age": "buckets", "city": "categorical"})
    assert [f.name for f in ready.schema.features] == ["user_id", "age", "city", "item_id"]
    buckets = ready.vocabularies["age"]
    assert isinstance(buckets, Buckets) and ready.users["age"].tolist() == [0, 1, 2, 3, 1]
    assert ready.schema.user[1] == Categorical("age", 4, fingerprint=buckets.fingerprint)
    assert ready.notes[0] == "user 'age' is buckets: 2 numbers from 20.5 to 30"


def test_open_ended_values_are_hashed():
    ready = prepare(rows(), features={"city": "hashed:64"})
    hashes = ready.vocabularies["city"]
    assert ready.schema.feature("city") == Hashed("city", 66, 2, fingerprint=hashes.fingerprint)
    assert ready.users["city"].shape == (ready.schema.user_id.num_ids, 2)
    assert ready.users["city"][:2].tolist() == [[0, 0]] * 2
    assert ready.notes == ("user 'city' is hashed to 2 of 64 rows: almost all values differ",)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["hour"], r"no features \['hour'\] in the tables.*'age'.*Pass the tables as users="),
        ("age", "several names; received 'age'"),
        (["same"], "column 'same' of the items carries no information.*all values are 1"),
        ({"age": "id"}, r"features\['age'\] must be one of 'categorical', .*received 'id'"),
        ({"city": "numeric"}, "column 'city' cannot be read as numeric"),
    ],
)
def test_features_that_cannot_be_used(features, message):
    with pytest.raises(ValueError, match=message):
        prepare(rows(items=ITEMS | {"same": [1] * 5}), features=features)


def test_a_column_that_is_the_label_is_refused():
    leak = {"item_id": list("abcd"), "leak": [4.5, 3.0, 2.0, 1.0]}
    label_of = dict(zip("abcd", leak["leak"], strict=True))
    labels = [label_of[item] for item in "abcbacdcb"]
    same = rows(items=leak).with_column("rating", labels)
    with pytest.raises(ValueError, match="'leak' of the items equals the label 'rating' in all 9"):
        prepare(same)
    prepare(same.with_column("rating", [*labels[:-1], 3.5]))
    with pytest.raises(ValueError, match="the context column 'leak' equals the label"):
        prepare(rows(leak=[4.0, 5.0, 1.0, 3.0, 4.0, 4.0, 2.0, 3.0, 1.0]))


def test_names_that_both_tables_or_the_rows_have_get_the_side_in_front():
    both = {"age": [1.5, 2.5, 3.5, 4.5, 5.5], "rating": [5.5, 4.5, 3.5, 2.5, 1.5]}
    ready = prepare(rows(items={"item_id": ITEMS["item_id"], **both}), features=None)
    assert [f.name for f in ready.schema.features][1:] == [
        "user_age",
        "sex",
        "item_id",
        "item_age",
        "item_rating",
    ]
    assert ready.users["user_age"][2] == 20.5 and ready.items["item_rating"][2] == 5.5


def test_context_of_a_user_is_in_the_table_of_the_users():
    columns = {"user_id": np.repeat([7, 9, 5], 20), "item_id": np.tile(np.arange(20), 3)}
    columns["height"] = np.repeat([1.5, 1.75, 2.0], 20)
    many = Interactions.from_table(columns, label=None, time=None, context=["height"])
    ready = prepare(many)
    assert [f.name for f in ready.schema.user] == ["user_id", "height"]
    np.testing.assert_array_equal(ready.users["height"], [np.nan, np.nan, 1.5, 1.75, 2.0])
    assert not isinstance(ready.train["height"], SideColumn)


def test_without_tables_there_are_the_ids():
    ready = prepare(rows(None, None))
    assert list(ready.users) == ["user_id"] and ready.items["item_id"].tolist() == list(range(6))


def test_a_schema_of_before_is_used_as_it_is():
    first = prepare(leave_last_out(rows()), history=2, features={"age": "buckets", "genres": "bag"})
    own = first.schema.only(f.name for f in first.schema.features if not f.is_history)
    again = prepare(rows(), vocabularies=first.vocabularies, schema=own)
    assert again.schema == own
    for name, values in (first.users | first.items).items():
        np.testing.assert_array_equal((again.users | again.items)[name], values)
    with pytest.raises(ValueError, match="schema has the item feature 'genres', which the table"):
        prepare(rows(items=None), vocabularies=first.vocabularies, schema=own)


def test_the_data_of_a_model_that_reads_less():
    ready = prepare(leave_last_out(rows()), history=2)
    assert [f.name for f in ready.only().schema.features] == ["user_id", "item_id"]

    class Model:
        schema = ready.schema.only(["history", "price"])

    assert ready.for_model(Model()).schema is Model.schema
    Model.schema = dataclasses.replace(Model.schema, label="other")
    with pytest.raises(ValueError, match="Model has another schema, or other vocabularies"):
        ready.for_model(Model())
    Model.schema = ready.schema.with_features(item=[Numeric("weight")])
    with pytest.raises(ValueError, match=r"which differ in \['weight'\].*from ready.schema"):
        ready.for_model(Model())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from("pqrs"), max_size=4), min_size=4, max_size=4))
def test_bags_hold_the_parts_of_their_cell(cells):
    table = {"item_id": list("abcd"), "tags": ["|".join(cell) for cell in cells]}
    ready = prepare(rows(None, table))
    if "tags" not in ready.items:
        assert ready.notes[0].startswith("item 'tags' is left out")
        return
    if not isinstance(ready.schema.feature("tags"), Bag):
        return
    decode = ready.vocabularies["tags"].decode
    for item, cell in zip("abcd", cells, strict=True):
        row = ready.items["tags"][ready.vocabularies["item_id"].encode([item])[0]]
        assert decode(row[row > 0]).tolist() == cell

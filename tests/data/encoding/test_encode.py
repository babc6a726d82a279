import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kerasrec.data import encode as encode_of_the_package
from kerasrec.data.encoding._encode import encode, fit_vocabularies, make_schema
from kerasrec.data.encoding.buckets import Buckets
from kerasrec.data.encoding.positives import positives
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.tables.interactions import Interactions
from kerasrec.schema import Categorical, Numeric, Schema


def made(**changes):
    data = {
        "user_id": ["ann", "bob", "ann"],
        "item_id": [50, 50, 60],
        "rating": [1, 5, 3],
        "timestamp": [10, 20, 30],
        "device": ["tv", "pc", "tv"],
        "price": [0.5, 1.5, 2.5],
    }
    return Interactions.from_table({**data, **changes}, context=("device", "price"))


def test_train_fits_and_other_rows_meet_unknown_ids():
    train = made()
    vocabularies = fit_vocabularies(train)
    assert list(vocabularies) == ["user_id", "item_id", "device"]
    assert vocabularies["item_id"].counts.tolist() == [2, 1]
    test = made(user_id=["bob", "eve", "ann"], item_id=[60, 70, 50], device=["pc", "tv", "car"])
    columns = encode(test, vocabularies)
    assert {name: values.tolist() for name, values in columns.items()} == {
        "user_id": [3, 1, 2],
        "item_id": [3, 1, 2],
        "device": [3, 2, 1],
        "price": [0.5, 1.5, 2.5],
        "timestamp": [10, 20, 30],
        "rating": [1.0, 5.0, 3.0],
    }
    assert {name: str(values.dtype) for name, values in columns.items()} == {
        "user_id": "int32",
        "item_id": "int32",
        "device": "int32",
        "price": "float32",
        "timestamp": "int64",
        "rating": "float32",
    }


def test_the_schema_describes_the_encoded_columns():
    train = made()
    vocabularies = fit_vocabularies(train)

    def ids(name):
        return Categorical(name, 4, fingerprint=vocabularies[name].fingerprint)

    assert make_schema(train, vocabularies) == Schema(
        user=[ids("user_id")],
        item=[ids("item_id")],
        context=[ids("device"), Numeric("price", mean=1.5, deviation=np.std([0.5, 1.5, 2.5]))],
        label="rating",
        time="timestamp",
    )
    buckets = Buckets.fit(train.column("price"), 2, name="price")
    schema = make_schema(train, vocabularies | {"price": buckets})
    assert schema.context[1] == Categorical("price", 4, fingerprint=buckets.fingerprint)
    assert encode(train, vocabularies | {"price": buckets})["price"].tolist() == [2, 3, 3]


def test_implicit_feedback_counts_as_one():
    rows = Interactions.from_table(
        {"user_id": [1, 2], "item_id": [1, 2]}, label=None, time=None
    )  # fmt: skip
    vocabularies = fit_vocabularies(rows)
    assert make_schema(rows, vocabularies).label == "label"
    columns = encode(rows, vocabularies)
    assert list(columns) == ["user_id", "item_id", "label"]
    assert columns["label"].dtype == np.float32 and columns["label"].tolist() == [1, 1]


def test_rows_without_rows_are_encoded():
    train = made()
    columns = encode(train.take([]), fit_vocabularies(train))
    assert {values.shape for values in columns.values()} == {(0,)}
    assert columns["user_id"].dtype == np.int32


def test_refusals():
    train = made()
    with pytest.raises(ValueError, match="received no rows"):
        fit_vocabularies(train.take([]))
    with pytest.raises(
        ValueError, match="a single user; all 1 training rows have 'user_id' == 'bob'"
    ):
        fit_vocabularies(train.take([1]))
    with pytest.raises(ValueError, match="a single item; all 2 training rows have 'item_id' == 50"):
        fit_vocabularies(train.take([0, 1]))
    vocabularies = fit_vocabularies(train)
    del vocabularies["device"]
    for function in (encode, make_schema):
        with pytest.raises(ValueError, match="no vocabulary for the column 'device'"):
            function(train, vocabularies)
    other = made(user_id=[1, 2, 3])
    with pytest.raises(ValueError, match="'user_id': it holds string ids; received int64"):
        encode(other, fit_vocabularies(train))
    taken = Interactions.from_table(
        {"user_id": [1, 2], "item_id": [1, 2], "label": [3, 4]},
        label=None,
        time=None,
        context=("label",),
    )
    with pytest.raises(ValueError, match="ones go to the name 'label'"):
        encode(taken, fit_vocabularies(taken))


def test_the_function_stays_under_the_name_of_its_module():
    assert encode_of_the_package is encode


def joined(**columns):
    """40 rows, each of 8 users with each of 5 items."""
    pairs = {"user_id": np.repeat(np.arange(8), 5), "item_id": np.tile(np.arange(5), 8)}
    table = {**pairs, **columns}
    return Interactions.from_table(table, label=None, time=None, context=list(columns))


@pytest.mark.parametrize("values", [["a", "b", "a", "c", "c"], [1, 2, 3, 4, 4], [0.5, 1, 2, 2, 3]])
def test_a_column_of_the_item_is_refused_as_context(values):
    train = joined(hour=np.arange(40) % 7, about=np.tile(np.array(values), 8))
    vocabularies = fit_vocabularies(train)
    message = r"context columns \['about'\] have one value in all rows of each 'item_id'.*--context"
    with pytest.raises(ValueError, match=message):
        make_schema(train, vocabularies)


def test_a_column_of_the_user_is_a_user_feature():
    train = joined(hour=np.arange(40) % 7, job=np.repeat(list("abcabcab"), 5))
    schema = make_schema(train, fit_vocabularies(train))
    assert [f.name for f in schema.user] == ["user_id", "job"]
    assert [f.name for f in schema.context] == ["hour"]
    assert set(encode(train, fit_vocabularies(train))) >= {f.name for f in schema.features}


def test_the_schema_says_which_labels_are_positives():
    train = made()
    vocabularies = fit_vocabularies(train)
    assert make_schema(train, vocabularies).positive == ">0"
    assert make_schema(train, vocabularies, positive=">=4").positive == ">=4"


def test_ids_with_few_rows_are_unknown():
    train = joined(hour=np.arange(40) % 7)
    more = Interactions.from_table(
        {"user_id": [*np.repeat(np.arange(8), 5), 99], "item_id": [*np.tile(np.arange(5), 8), 77]},
        label=None, time=None,
    )  # fmt: skip
    assert 99 in fit_vocabularies(more)["user_id"].ids
    vocabularies = fit_vocabularies(more, min_count=2)
    assert (
        encode(more, vocabularies)["user_id"][-1] == encode(more, vocabularies)["item_id"][-1] == 1
    )
    with pytest.raises(ValueError, match="'user_id': no id occurs 6 times; .* has 5 rows"):
        fit_vocabularies(train, min_count=6)
    rows = Interactions.from_table(
        {"user_id": [1, 1, 2], "item_id": [5, 6, 5]}, label=None, time=None
    )
    with pytest.raises(ValueError, match="single user; with min_count=2 what is left has 'user_id"):
        fit_vocabularies(rows, min_count=2)


@pytest.mark.parametrize(
    ("positive", "expected"), [(">0", [2, 0, 1]), (">=0", [3, 1, 1]), (">=2", [1, 0, 0])]
)
def test_popularity_of_items_counts_positives(positive, expected):
    """Rows of other labels stay rows of ids: they are known, and frequent enough."""
    table = {"user_id": [1, 1, 1, 2, 2], "item_id": [5, 6, 5, 5, 7], "rating": [1, 0, 0, 2, 1]}
    rows = Interactions.from_table(table, time=None, duplicates="keep")
    found = fit_vocabularies(rows, positive=positive)
    assert found["item_id"].ids.tolist() == [5, 6, 7]
    assert found["item_id"].counts.tolist() == expected
    assert found["user_id"].counts.tolist() == [3, 2]


def test_min_count_counts_rows_of_any_label():
    table = {
        "user_id": [1, 2] * 4,
        "item_id": [5, 5, 6, 6, 7, 8, 8, 8],
        "rating": [0] * 5 + [1] * 3,
    }
    rows = Interactions.from_table(table, time=None, duplicates="keep")
    items = fit_vocabularies(rows, min_count=2)["item_id"]
    assert items.ids.tolist() == [5, 6, 8]
    assert items.counts.tolist() == [0, 0, 3]
    with pytest.raises(ValueError, match="positive=.*: expected '>' or '>='"):
        fit_vocabularies(rows, positive="4")


@pytest.mark.parametrize("positive", [">0", ">=4", ">=1", ">4.5"])
@pytest.mark.parametrize("min_count", [1, 8])
def test_popularity_is_that_of_the_schema_with_the_same_rule(positive, min_count):
    rng = np.random.default_rng(1)
    table = {
        "user_id": rng.integers(0, 9, 200),
        "item_id": rng.zipf(1.5, 200) % 30,
        "rating": rng.integers(2, 11, 200) / 2,  # 1 to 5, in halves
    }
    rows = Interactions.from_table(table, time=None, duplicates="keep")
    found = fit_vocabularies(rows, positive=positive, min_count=min_count)
    schema = make_schema(rows, found, positive=positive)
    items = positives(encode(rows, found), schema)["item_id"]
    item = found["item_id"]
    assert item.counts.tolist() == np.bincount(items, minlength=item.num_ids)[2:].tolist()
    every = Vocabulary.fit(table["item_id"], "item_id").frequent(min_count)
    assert item.fingerprint == every.fingerprint  # labels never decide which ids are known
    if positive in (">0", ">=1"):  # all grades of such ratings are positives
        assert item.counts.tolist() == every.counts.tolist()


def test_without_labels_and_of_files_all_rows_are_popularity(tmp_path):
    table = {"user_id": [1, 1, 2], "item_id": [5, 6, 5], "rating": [0, 1, 0]}
    rows = Interactions.from_table(table, time=None, label=None)
    assert fit_vocabularies(rows, positive=">=4")["item_id"].counts.tolist() == [2, 1]
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    assert fit_vocabularies(tmp_path)["item_id"].counts.tolist() == [2, 1]
    with pytest.raises(ValueError, match="of files all rows are counted.* received positive='>=4'"):
        fit_vocabularies(tmp_path, positive=">=4")

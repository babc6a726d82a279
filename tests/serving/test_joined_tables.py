"""Columns of joined tables in an export, found by a key that requests send."""

import datetime

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import Examples, HashBuckets, KeyedTable, Vocabulary, prepare_examples
from kerasrec.models import FeatureMLP
from kerasrec.schema import Categorical, Schema
from kerasrec.serving import export, load, verify
from kerasrec.serving.graph.examples import make_examples

# No row has the last shop and the last item.
SHOPS = {
    "shop": ["a", "né-用户-🙂", "c", "never seen"],
    "vector": [[0.5, 1.5], [2.5, -3.5], [9.5, 9.5], [4.5, 4.5]],
    "city": ["Rome", "Oslo", None, "Oslo"],
    "opened": [datetime.datetime(2020, 1, day, tzinfo=datetime.UTC) for day in (1, 2, 3, 4)],
}
ITEMS = {
    "item": [2**40, 7, 2**31 + 5, 11],
    "tags": [["x", "y"], [], ["y"], ["x"]],
    "price": [1.5, None, 3.25, 8.75],
    "device": [5, 6, 2**33, 8],
}
SIZE = 60


def rows_of(rng):
    return {
        "shop": rng.choice([*SHOPS["shop"][:3], "elsewhere"], SIZE).tolist(),
        "item": rng.choice([*ITEMS["item"][:3], 12], SIZE).tolist(),
        "hour": rng.normal(size=SIZE).tolist(),
        "label": (np.arange(SIZE) % 2).tolist(),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Rows of two tables, of which `shop` is a feature and `item` none."""
    rng = np.random.default_rng(0)
    rows = Examples.from_table(rows_of(rng), tables={"shop": SHOPS, "item": ITEMS})
    kinds = dict.fromkeys(name for name in rows.features if name != "item")
    kinds |= {"price": "buckets", "device": "hashed"}
    ready = prepare_examples(
        rows,
        features={n: k for n, k in kinds.items() if k}
        | {
            n: {
                "shop": "categorical",
                "hour": "numeric",
                "vector": "vector",
                "city": "categorical",
                "opened": "date",
                "tags": "bag",
            }[n]
            for n, k in kinds.items()
            if k is None
        },
    )
    model = FeatureMLP(ready.schema, hidden_units=[8])
    for weight in model.trainable_variables:  # vectors that do not vanish beside the others
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    folder = tmp_path_factory.mktemp("joined")
    export(model, folder, vocabularies=ready.vocabularies, tables=ready.tables)
    return ready, model, folder


def test_requests_send_keys(made):
    ready, model, folder = made
    raw = rows_of(np.random.default_rng(1))
    raw["shop"][:2] = ["", "never seen"]
    raw["item"][:3] = [-1, 11, 2**63 - 1]
    joined = Examples.from_table(
        {
            **raw,
            "shop": [s or None for s in raw["shop"]],
            "item": [None if i == -1 else i for i in raw["item"]],
        },
        tables={"shop": SHOPS, "item": ITEMS},
    )
    again = prepare_examples(joined, vocabularies=ready.vocabularies, schema=ready.schema)
    expected = np.asarray(model({f.name: again.train[f.name] for f in ready.schema.features}))
    served = load(folder)
    asked = {name: raw[name] for name in ("shop", "item", "hour")}
    np.testing.assert_allclose(served.predict(asked)["score"], expected, rtol=1e-4, atol=1e-5)
    assert verify(folder).problems == ()


def test_keys_that_no_training_row_has_are_found(made):
    ready, model, folder = made
    served = load(folder)

    def score(shop, item):
        return float(served.predict({"shop": [shop], "item": [item], "hour": [0.5]})["score"][0])

    assert score("never seen", 7) != score("unheard of", 7)
    assert score("a", 11) != score("a", 12)
    assert score("a", 12) == score("a", -1)


def test_an_example_may_send_the_columns_too(made):
    _, _, folder = made
    graph = tf.saved_model.load(str(folder / "1")).signatures["predict_examples"]
    key = {"shop": np.array(["a"], object), "item": np.array([7]), "hour": np.float32([0.5])}
    other = {**key, "vector": np.float32([[9.5, 9.5]])}
    same = {**key, "vector": np.float32([SHOPS["vector"][0]])}
    found = [
        graph(examples=tf.constant(make_examples(row)))["score"].numpy()[0]
        for row in (key, same, other)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert abs(found[0] - found[2]) > 1e-3


def test_bad_input(made, tmp_path):
    ready, model, _ = made

    def refused(message, tables, of=model, vocabularies=ready.vocabularies):
        with pytest.raises(ValueError, match=message):
            export(of, tmp_path / "no", vocabularies=vocabularies, tables=tables)

    shop = ready.tables["shop"]
    refused("must be a kerasrec.data.KeyedTable; received dict", {"shop": SHOPS})
    refused("in one table alone", {"shop": shop, "item": KeyedTable(shop.keys, shop.columns)})
    narrow = KeyedTable(shop.keys, {"vector": shop.columns["vector"][:, :1]})
    refused(r"has float32 \(1,\) for 'vector'; expected float32 \(2,\)", {"shop": narrow})
    refused("underscores", {"a b": shop})
    numbers = KeyedTable(Vocabulary.fit([1, 2, 3]), {"vector": np.zeros((5, 2), np.float32)})
    refused("not as the int64 keys of a table", {"shop": numbers})
    refused("not as the int64 keys of a table", {"hour": numbers})
    with pytest.raises(ValueError, match="needs a row for each of 5 ids"):
        KeyedTable(numbers.keys, {"vector": np.zeros((3, 2), np.float32)})
    schema = Schema(user=Categorical("user", 5), item=Categorical("item", 5))
    known = {"user": Vocabulary.fit([1, 2, 3]), "item": Vocabulary.fit([1, 2, 3])}
    pair = FeatureMLP(schema, hidden_units=[4])
    refused("tables are for models without items", {"shop": shop}, pair, known)
    assert not (tmp_path / "no").exists() or not list((tmp_path / "no").iterdir())


def test_a_hashed_key_is_sent_once(tmp_path):
    rng = np.random.default_rng(0)
    rows = Examples.from_table(rows_of(rng), tables={"item": ITEMS}, features=["item", "tags"])
    ready = prepare_examples(rows, features={"item": "hashed", "tags": "bag"})
    assert isinstance(ready.vocabularies["item"], HashBuckets)
    model = FeatureMLP(ready.schema, hidden_units=[4])
    export(model, tmp_path, vocabularies=ready.vocabularies, tables=ready.tables)
    assert verify(tmp_path).problems == ()
    assert load(tmp_path).predict({"item": [7, 11, -1]})["score"].shape == (3,)


def test_integer_keys_are_categories_and_unique_ones_no_feature():
    rows = {"item": [7, 7, 5, 5] * 8, "label": [0, 1] * 16}
    ready = prepare_examples(
        Examples.from_table(rows, tables={"item": {"item": [7, 5], "size": [0.5, 1.5]}})
    )
    assert isinstance(ready.schema.feature("item"), Categorical)
    rows = {"item": list(range(100)), "label": [0, 1] * 50}
    sizes = {"item": list(range(100)), "size": (np.arange(100) / 8).tolist()}
    ready = prepare_examples(Examples.from_table(rows, tables={"item": sizes}))
    assert [feature.name for feature in ready.schema.features] == ["size"]
    assert list(ready.tables) == ["item"]


def test_answers_are_recomputed_with_the_tables(made):
    ready, model, folder = made
    given = {"model": model, "vocabularies": ready.vocabularies}
    assert verify(folder, **given, tables=ready.tables).problems == ()
    with pytest.raises(ValueError, match="tables and candidates are only used to recompute"):
        verify(folder, tables=ready.tables)


def test_a_bag_that_is_sent_has_its_own_weights(tmp_path):
    shops = {"shop": ["a", "b"], "genres": ["x|y", "y|z"], "shares": ["9|1", "1|1"]}
    rows = {"shop": ["a", "b"] * 10, "hour": [0.5, 1.5] * 10, "label": [0, 1] * 10}
    ready = prepare_examples(
        Examples.from_table(rows, tables={"shop": shops}),
        features={"genres": "bag", "shares": "weights:genres", "hour": "numeric"},
    )
    model = FeatureMLP(ready.schema, hidden_units=[4])
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    path = export(model, tmp_path / "bags", vocabularies=ready.vocabularies, tables=ready.tables)
    graph = tf.saved_model.load(str(path)).signatures["predict_examples"]

    def score(**row):
        row = {"shop": np.array(["a"], object), "hour": np.float32([0.5]), **row}
        return graph(examples=tf.constant(make_examples(row)))["score"].numpy()[0]

    bag = {"genres": np.array([["x", "y"]], object)}
    alone, even = score(**bag), score(**bag, shares=np.float32([[1, 1]]))
    assert alone == pytest.approx(even, abs=1e-6)
    assert abs(score() - even) > 1e-4  # those of the shop are 9 and 1


def test_blank_text_is_missing_in_training_and_served(tmp_path):
    rows = {
        "city": ["Rome", "Oslo", " "] * 20,
        "tag": ["a", " ", "b"] * 20,
        "label": [0, 1, 1] * 20,
    }
    ready = prepare_examples(
        Examples.from_table(rows), features={"city": "categorical", "tag": "hashed"}
    )
    model = FeatureMLP(ready.schema, hidden_units=[4])
    path = export(model, tmp_path / "blank", vocabularies=ready.vocabularies)
    blanks = ["", " ", "\t ", "\u00a0", "\u2003\x85"]
    found = load(path).predict({"city": blanks, "tag": blanks})["score"]
    third = {name: values[2:3] for name, values in ready.train.items()}
    second = {name: values[1:2] for name, values in ready.train.items()}
    inputs = {"city": third["city"], "tag": second["tag"]}
    np.testing.assert_allclose(found, [float(model(inputs)[0])] * len(blanks), rtol=1e-5)

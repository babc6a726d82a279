"""Weights of the values of a bag: read, checked, averaged with, exported."""

import numpy as np
import pytest

from kerasrec.data import Examples, Interactions, prepare, prepare_examples
from kerasrec.layers import FeatureEmbedding
from kerasrec.layers.interest.item_features import ItemFeatures
from kerasrec.models import DLRM, DeepFM, FeatureMLP
from kerasrec.schema import Bag, BagWeights, Categorical, Hashed, Numeric, Schema
from kerasrec.serving import export, load, verify
from kerasrec.testing import CHECKS, ModelCase

KINDS = {"genres": "bag", "shares": "weights:genres", "age": "numeric"}
GENRES = [["drama", "war"], ["drama"], [], ["comedy", "drama", "war"], ["war", "comedy"]] * 8
SHARES = [[0.9, 0.1], [2], [], [0.5, 0.25, 0.25], None] * 8


def examples(genres=GENRES, shares=SHARES):
    rng = np.random.default_rng(0)
    columns = {"genres": genres, "shares": shares, "age": rng.normal(size=len(genres))}
    return Examples.from_table(columns | {"click": rng.integers(0, 2, len(genres))}, label="click")


def bars(lists):
    return [None if row is None else "|".join(map(str, row)) for row in lists]


@pytest.mark.parametrize("as_text", [False, True])
def test_weights_are_encoded_beside_their_values(as_text):
    rows = examples(bars(GENRES), bars(SHARES)) if as_text else examples()
    ready = prepare_examples(rows, features=KINDS)
    assert ready.schema.features[1] == BagWeights("shares", 3, of="genres")
    drama, war, comedy = ready.vocabularies["genres"].encode(["drama", "war", "comedy"])
    nan = np.nan
    np.testing.assert_array_equal(
        ready.train["genres"][:5],
        [[drama, war, 0], [drama, 0, 0], [0, 0, 0], [comedy, drama, war], [war, comedy, 0]],
    )
    np.testing.assert_array_equal(
        ready.train["shares"][:5],
        np.float32([[0.9, 0.1, nan], [2, nan, nan], [nan] * 3, [0.5, 0.25, 0.25], [nan] * 3]),
    )
    assert "'shares' is weights: " in ready.notes[1]


def test_the_vector_of_a_bag_is_the_weighted_mean():
    schema = Schema(context=[Bag("genres", 5, 3), BagWeights("shares", 3, of="genres")])
    layer = FeatureEmbedding(schema, embedding_dim=1)
    layer.build()
    (table,) = layer.tables.values()
    table.embeddings.assign(np.float32([[9], [7], [1], [2], [4]]))
    nan = np.nan
    ids = np.array([[2, 3, 0], [2, 3, 4], [2, 0, 4], [2, 3, 4], [0, 0, 0], [3, 4, 0]])
    shares = [[3, 1, 5], [nan, nan, nan], [1, 8, 3], [0, 0, 0], [1, 1, 1], [nan, -2, nan]]
    vectors = layer({"genres": ids, "shares": np.float32(shares)}, names=["genres", "shares"])
    # Padding does not count, missing weights are 1, and negative ones 0.
    expected = [1.25, 7 / 3, 13 / 4, 0, 0, 2]
    np.testing.assert_allclose(np.ravel(vectors), expected, rtol=1e-6)


def test_tables_of_items_have_weights_too():
    items = {"item": [1, 2, 3], "genres": ["a|b", "a", None], "shares": ["0.75|0.25", "1", None]}
    rows = Interactions.from_table(
        {"user": [1, 1, 2, 2], "item": [1, 2, 2, 3], "label": [1, 0, 1, 1]},
        user="user",
        item="item",
        label="label",
        time=None,
        items=items,
    )
    kinds = {"genres": "bag", "shares": "weights:genres"}
    ready = prepare(rows, features=kinds)
    assert ready.schema.item[1:] == (
        Bag("genres", 4, 2, fingerprint=ready.schema.item[1].fingerprint),
        BagWeights("shares", 2, of="genres"),
    )
    nan = np.nan
    expected = [[nan, nan], [nan, nan], [0.75, 0.25], [1, nan], [nan, nan]]
    np.testing.assert_array_equal(ready.items["shares"], np.float32(expected))
    items["shares"][0] = "0.75"
    rows = Interactions.from_table(
        {"user": [1, 2], "item": [1, 2]},
        user="user",
        item="item",
        label=None,
        time=None,
        items=items,
    )
    with pytest.raises(ValueError, match="the table of the items: expected a weight in 'shares'"):
        prepare(rows, features=kinds)


@pytest.mark.parametrize(
    ("shares", "kind", "message"),
    [
        ([[0.9], *SHARES[1:]], "weights:genres", r"\(row 0\) 1 weights and 2 values"),
        ([*SHARES[:-2], [1.0, 1.0], None], "weights:genres", "1 rows have others"),
        ([[0.9, -0.1], *SHARES[1:]], "weights:genres", "finite weights of 0 and more; received -0"),
        ([[0.9, np.inf], *SHARES[1:]], "weights:genres", "received 0.1 to inf"),
        ([None] * 40, "weights:genres", "weights"),
        (GENRES, "weights:genres", "'shares' cannot be read as weights"),
        (SHARES, "weights", "must name the bag whose ids it weighs"),
        (SHARES, "weights:words", "of='words' must name a Bag among the context features"),
        (SHARES, "weights:age", "of='age' must name a Bag"),
        (SHARES, "weigths:genres", "weigths:genres"),
    ],
)
def test_what_is_wrong_with_weights_is_said(shares, kind, message):
    with pytest.raises(ValueError, match=message):
        prepare_examples(examples(shares=shares), features={**KINDS, "shares": kind})


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([Bag("genres", 9, 2), BagWeights("w", 3, of="genres")], "holds up to 3 ids"),
        ([Hashed("genres", 9, 3), BagWeights("w", 3, of="genres")], "it has no bags"),
        (
            [Bag("g", 9, 3), BagWeights("w", 3, of="g"), BagWeights("v", 3, of="g")],
            "the bag 'g' has other weights too",
        ),
    ],
)
def test_weights_need_their_bag_in_the_schema(features, message):
    with pytest.raises(ValueError, match=message):
        Schema(context=features)
    with pytest.raises(ValueError, match="must name a Bag among the context"):
        Schema([Categorical("u", 5), Bag("g", 9, 3)], context=[BagWeights("w", 3, of="g")])


@pytest.mark.parametrize(
    "scale", [{"mean": 1.0}, {"deviation": 2.0}, {"log": True}, {"missing": True}]
)
def test_weights_have_no_scale(scale):
    with pytest.raises(ValueError, match="weights are read as they are"):
        BagWeights("w", 3, of="g", **scale)


def test_json_holds_weights():
    schema = Schema(context=[Bag("g", 9, 3), BagWeights("w", 3, of="g"), Numeric("age")])
    assert Schema.from_json(schema.to_json()) == schema
    assert schema.to_dict()["version"] == 6
    assert [feature.name for feature in schema.fields] == ["g", "age"]
    assert (schema.weights_of("g"), schema.weights_of("age")) == ("w", None)


WEIGHTED = Schema(
    context=[
        Categorical("device", 5),
        Bag("genres", 11, max_length=3),
        BagWeights("shares", 3, of="genres"),
        Numeric("age", mean=40.0, deviation=12.0),
    ]
)
CASES = [
    ModelCase(
        FeatureMLP,
        schema=WEIGHTED,
        num_params=(5 + 11) * 4 + (4 + 4 + 1 + 1) * 16 + (16 + 1),
        kwargs={"embedding_dim": 4, "hidden_units": (16,)},
    ),
    ModelCase(
        DeepFM,
        schema=WEIGHTED,
        num_params=(5 + 11 + 1) * (4 + 1) + (12 + 1) * 8 + (8 + 1),
        kwargs={"embedding_dim": 4, "hidden_units": (8,)},
    ),
    ModelCase(
        DLRM,
        schema=WEIGHTED,
        num_params=(5 + 11) * 4 + (1 + 1) * 4 + (4 + 3 + 1) * 16 + (16 + 1),
        kwargs={"embedding_dim": 4, "bottom_units": (), "hidden_units": (16,)},
    ),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.model.__name__)
def test_contract(check, case):
    check(case)


def test_an_export_takes_raw_weights(tmp_path):
    ready = prepare_examples(examples(), features=KINDS)
    model = FeatureMLP(ready.schema, embedding_dim=4, hidden_units=(8,))
    table = model.features.tables["genres"]
    table.embeddings.assign(np.float32(np.random.default_rng(0).normal(size=(5, 4))))
    path = export(model, tmp_path, vocabularies=ready.vocabularies)
    verify(path)
    raw = {"genres": [["drama", "war"]] * 3, "age": [0.5] * 3}
    raw["shares"] = [[0.9, 0.1, np.nan], [0.1, 0.9, np.nan], [np.nan] * 3]
    scores = load(path).predict(raw)["score"]
    one = ready.vocabularies["genres"].encode(["drama", "war"])
    encoded = {"genres": np.array([[*one, 0]] * 3), "age": np.float32([0.5] * 3)}
    encoded["shares"] = np.float32([[0.9, 0.1, 0], [0.1, 0.9, 7], [1, 1, 0]])
    np.testing.assert_allclose(scores, model(encoded), rtol=1e-5)
    assert len(np.unique(scores)) == 3


def test_the_longest_bags_may_lack_weights():
    shares = [[0.9, 0.1], [2], [], None, None] * 8
    ready = prepare_examples(examples(shares=shares), features=KINDS)
    assert ready.schema.features[1] == BagWeights("shares", 3, of="genres")
    assert np.isnan(ready.train["shares"][3]).all()


def test_columns_of_one_value_and_one_weight_in_each_row():
    genres, shares = [["drama"], ["war"]] * 20, [0.5, None] * 20
    ready = prepare_examples(examples(genres, shares), features=KINDS)
    np.testing.assert_array_equal(ready.train["shares"][:2], np.float32([[0.5], [np.nan]]))


def test_a_model_keeps_the_weights_of_bags_of_items():
    """Of missing weights it keeps 1, since all weights of a model are finite."""
    schema = Schema(
        item=[Categorical("item", 4), Bag("genres", 5, 2), BagWeights("shares", 2, of="genres")]
    )
    layer = ItemFeatures(schema, ["genres"])
    embedding = FeatureEmbedding(schema, embedding_dim=1)
    embedding.build()
    embedding.tables["genres"].embeddings.assign(np.float32([[9], [7], [1], [2], [4]]))
    genres, nan = np.array([[0, 0], [1, 0], [2, 3], [3, 4]]), np.nan
    shares = np.float32([[nan, nan], [nan, nan], [3, 1], [nan, nan]])
    layer.assign({"genres": genres, "shares": shares})
    assert all(np.isfinite(weight).all() for weight in layer.get_weights())
    found = layer(np.array([0, 1, 2, 3]), embedding=embedding)
    np.testing.assert_allclose(np.ravel(found), [0, 7, 1.25, 3], rtol=1e-6)
    with pytest.raises(ValueError, match="weights, which are read with their bag"):
        ItemFeatures(schema, ["shares"])
    with pytest.raises(ValueError, match="without \\['shares'\\]"):
        layer.assign({"genres": genres})

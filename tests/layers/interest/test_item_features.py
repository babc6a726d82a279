import numpy as np
import pytest
import tensorflow as tf

from kerasrec.layers import FeatureEmbedding
from kerasrec.layers.interest import item_features
from kerasrec.layers.interest.item_features import ItemFeatures
from kerasrec.schema import Bag, Categorical, Numeric, Schema

SCHEMA = Schema(
    item=[
        Categorical("item", 5),
        Bag("genres", 6, max_length=2),
        Numeric("price", mean=5.0, deviation=2.0, missing=True),
        Categorical("country", 4),
    ]
)
ITEMS = {
    "item": np.arange(5),
    "genres": np.array([[0, 0], [1, 0], [2, 3], [4, 0], [5, 2]]),
    "price": np.array([np.nan, np.nan, 5.0, 9.0, np.nan]),
    "country": np.array([0, 1, 2, 3, 2]),
}
NAMES = ["price", "genres", "country"]


@pytest.mark.parametrize("whole", [True, False])
def test_rows_are_the_embedded_features(whole, monkeypatch):
    monkeypatch.setattr(item_features, "WHOLE_TABLE", 5 if whole else 4)
    embedding = FeatureEmbedding(SCHEMA, embedding_dim=3)
    layer = ItemFeatures(SCHEMA, NAMES)
    layer.assign(ITEMS)
    ids = np.array([[2, 4, 0], [3, 3, 1]])
    expected = embedding({n: ITEMS[n][ids] for n in NAMES}, names=NAMES)
    assert expected.shape == (2, 3, embedding.width(NAMES))
    np.testing.assert_allclose(layer(ids, embedding=embedding), expected, rtol=1e-6)
    compiled = tf.function(lambda x: layer(x, embedding=embedding), jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant(ids)), expected, rtol=1e-6)


def test_a_copy_has_the_features_of_the_items():
    layer = ItemFeatures(SCHEMA, NAMES)
    layer.assign(ITEMS)
    assert not layer.trainable_weights
    again = ItemFeatures.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    embedding = FeatureEmbedding(SCHEMA, embedding_dim=3)
    ids = np.array([2, 3])
    np.testing.assert_array_equal(again(ids, embedding=embedding), layer(ids, embedding=embedding))


def test_features_are_missing_until_they_are_assigned():
    embedding = FeatureEmbedding(SCHEMA, embedding_dim=3)
    rows = ItemFeatures(SCHEMA, ["genres", "country"])(np.array([2]), embedding=embedding)
    country = embedding({"country": np.array([1])}, names=["country"])
    np.testing.assert_array_equal(rows[:, :3], np.zeros((1, 3)))
    np.testing.assert_array_equal(rows[:, 3:], country)


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (["item"], r"Leave out \['item'\]"),
        (["colour"], r"\['genres', 'price', 'country'\]; received \['colour'\]"),
        (["genres", "genres"], "Leave out what is there twice"),
    ],
)
def test_bad_names(names, wrong):
    with pytest.raises(ValueError, match=f"ItemFeatures: .*{wrong}"):
        ItemFeatures(SCHEMA, names)


def test_bad_tables():
    layer = ItemFeatures(SCHEMA, ["genres"])
    with pytest.raises(ValueError, match=r"received \['item'\], without \['genres'\]. Pass ready"):
        layer.assign({"item": np.arange(5)})
    with pytest.raises(ValueError, match=r"'genres' of shape \(5, 2\).*received \(4, 2\)"):
        layer.assign({"genres": ITEMS["genres"][:4]})

"""Small exports of every kind of model."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import kerasrec.serving.graph.catalogue as catalogue
from kerasrec.data import Buckets, Vocabulary
from kerasrec.layers import FeatureEmbedding
from kerasrec.models import EmbeddingMLP, MatrixFactorization, Popularity, Recommender
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, Schema
from kerasrec.serving import export, load

USERS = {
    "string": ["ann", "  bob", "tab\tid", "né-用户-🙂", "x" * 300],
    "int64": [2**31 + 5, 0, 7, 2**63 - 1, 12],
}
ITEMS = {
    "string": ["Amélie", "東京物語", "a b", "#1", " ", '"q"', "last\u2028"],
    "int64": [2**40, 0, 3, 2**63 - 1, 9, 10, 11],
}
# Of item i; equal counts stand in the order of the vocabulary.
COUNTS = [1, 5, 3, 3, 4, 1, 2]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with all that its export needs."""

    model: Any
    vocabularies: dict[str, Vocabulary]
    items: dict[str, np.ndarray] | None = None
    candidates: np.ndarray | None = None
    users: dict[str, np.ndarray] | None = None

    @property
    def tables(self):
        """What an export is told about users and items."""
        return {"users": self.users, "items": self.items, "candidates": self.candidates}

    def export(self, directory, **kwargs):
        return export(
            self.model,
            directory,
            vocabularies=self.vocabularies,
            **{"k": 3 if self.model.schema.item else None, **self.tables, **kwargs},
        )


@keras.saving.register_keras_serializable("kerasrec_tests")
class Columns(Recommender):
    """A network over the features of any schema, with or without users and items."""

    sides = ()

    def __init__(self, schema, *, output_kind="logit", embedding_dim=8, name=None, dtype=None):
        super().__init__(schema, name=name, dtype=dtype)
        self.output_kind = output_kind
        self.embedding_dim = embedding_dim
        policy = {"dtype": self.dtype_policy}
        self.features = FeatureEmbedding(
            self.schema, embedding_dim=embedding_dim, stddev=1.0, name="features", **policy
        )
        self.hidden = keras.layers.Dense(6, activation="tanh", name="hidden", **policy)
        self.head = keras.layers.Dense(1, name="head", **policy)
        self.build()

    def call(self, inputs, training=False):
        item = [feature.name for feature in self.schema.item]
        rows = self.features(inputs, names=[feature.name for feature in self.schema.query])
        if item:
            items = self.features(inputs, names=item)
            if len(items.shape) > len(rows.shape):
                rows = rows[:, None] + ops.zeros_like(items[..., :1])
            rows = ops.concatenate([rows, items], axis=-1)
        return ops.cast(self.head(self.hidden(rows))[..., 0], "float32")

    def get_config(self):
        own = {"output_kind": self.output_kind, "embedding_dim": self.embedding_dim}
        return {**super().get_config(), **own}


def _make_table(output_kind="logit", **kwargs):
    """A case without ids: a category of texts, one of integers, buckets, a bag, numbers."""
    vocabularies = {
        "country": Vocabulary(np.array(["de", "né-用户-🙂", "fr"]), np.array([2, 9, 4]), "country"),
        "device": Vocabulary(np.array([2**40, 3, 2**31 + 5]), np.array([1, 2, 3]), "device"),
        "age_bucket": Buckets.fit(np.arange(90.0), 3, "age_bucket"),
        "tags": Vocabulary.fit(["a", "b", "ü"], "tags"),
    }
    schema = Schema(
        context=(
            Categorical("country", 5, missing=True),
            Categorical("device", 5),
            Categorical("age_bucket", 5),
            Bag("tags", 5, 3),
            Numeric("age", mean=3.5, deviation=0.5, log=True, missing=True),
            Numeric("place", 2),
        ),
        label="clicked",
    )
    return Case(Columns(schema, output_kind=output_kind, **kwargs), vocabularies)


def id_vocabularies(user_dtype, item_dtype):
    return {
        "user": Vocabulary(np.array(USERS[user_dtype]), np.ones(5, int), "user"),
        "item": Vocabulary(np.array(ITEMS[item_dtype]), np.array(COUNTS), "item"),
    }


def id_schema():
    return Schema(user=Categorical("user", 7), item=Categorical("item", 9))


def _make_case(kind, user_dtype="string", item_dtype="int64"):
    """A case: "mf", "wide", "popularity", "mlp" over ids, or an MLP over all kinds of features.

    Requests send what is known about users to "features", while "stored" knows it.
    """
    vocabularies = id_vocabularies(user_dtype, item_dtype)
    if kind in ("mf", "wide"):  # tables of 8 columns and more can be stored in fewer bytes
        dim = 4 if kind == "mf" else 8
        model = MatrixFactorization(id_schema(), embedding_dim=dim, stddev=1.0, l2=0.1)
        return Case(model, vocabularies)
    if kind == "popularity":
        model = Popularity(id_schema())
        model.adapt({"item": np.repeat(np.arange(2, 9), [2, 2, 9, 1, 0, 4, 3])})
        return Case(model, vocabularies)
    if kind == "mlp":
        model = EmbeddingMLP(id_schema(), embedding_dim=4, hidden_units=(8,), stddev=1.0)
        return Case(model, vocabularies)
    schema = Schema(
        user=(
            Numeric("age"),
            Categorical("user", 7),
            IdSequence("history", "item", 3),
            Bag("tags", 5, 2),
            Numeric("place", 2),
        ),
        item=(Categorical("item", 9), Bag("genres", 6, 2), Numeric("vector", 2)),
        context=(Categorical("device", 5), Numeric("hour")),
        label="rating",
    )
    vocabularies["genres"] = Vocabulary.fit(["drama", "comédie", "a", "b"], "genres")
    vocabularies["tags"] = Vocabulary.fit(["x", "y", "z"], "tags")
    vocabularies["device"] = Vocabulary.fit([30, 10, 20], "device")
    rng = np.random.default_rng(0)
    items = {
        "genres": rng.integers(0, 6, (9, 2)).astype(np.int32),
        "vector": rng.normal(size=(9, 2)).astype(np.float32),
    }
    items["genres"][:2], items["vector"][:2] = 0, np.nan  # nothing is known about unknown items
    candidates = np.array([8, 3, 2, 5, 7])  # not all, and not in order
    users = {
        "user": np.arange(7),
        "age": np.float32([np.nan, np.nan, 0.5, -1, 2, np.nan, 1]),
        "tags": np.array([[0, 0], [0, 0], [2, 3], [4, 0], [0, 0], [1, 0], [3, 4]]),
        "place": np.repeat(np.float32([[np.nan], [np.nan], [0], [1], [2], [3], [4]]), 2, axis=1),
    }
    model = EmbeddingMLP(schema, embedding_dim=4, hidden_units=(8,), stddev=1.0)
    return Case(model, vocabularies, items, candidates, users if kind == "stored" else None)


@pytest.fixture
def make_case():
    """The function `make_case(kind, user_dtype, item_dtype)`."""
    return _make_case


@pytest.fixture
def columns_model():
    """The class of a model over the features of any schema."""
    return Columns


@pytest.fixture(scope="session")
def make_table():
    """The function `make_table(output_kind)`, which makes a case without ids."""
    return _make_table


@pytest.fixture(scope="session")
def table_export(tmp_path_factory):
    """An exported model of a table without ids."""
    case = _make_table()
    return case, load(case.export(tmp_path_factory.mktemp("table") / "clicks"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The function `exported(kind, user_dtype, item_dtype) -> (case, loaded)`, with k = 7.

    Exports are made once for all tests; none may change them.
    """

    @functools.cache
    def exported(kind, user_dtype="string", item_dtype="int64"):
        case = _make_case(kind, user_dtype, item_dtype)
        return case, load(case.export(tmp_path_factory.mktemp("served") / "movies", k=7))

    return exported


@pytest.fixture
def mf_version(exported):
    """The path and the case of an exported MatrixFactorization over strings."""
    case, served = exported("mf", "string", "string")
    return served.path, case


@pytest.fixture(scope="session")
def stored_export(tmp_path_factory):
    """An exported model that knows its users and items, k = 5."""
    case = _make_case("stored")
    return case, load(case.export(tmp_path_factory.mktemp("stored") / "movies", k=5))


@pytest.fixture(scope="session")
def features_export(tmp_path_factory):
    """An exported model over all kinds of features, k = 5, its catalogue scored in blocks."""
    case = _make_case("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "PAIRS_OF_RANKER", 5)
        return case, load(case.export(tmp_path_factory.mktemp("features") / "movies", k=5))

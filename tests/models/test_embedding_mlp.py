import numpy as np
import pytest
from keras import ops

from kerasrec.evaluation.ranking.item_parts import ItemParts
from kerasrec.evaluation.ranking.scoring import block_scorer
from kerasrec.models import EmbeddingMLP, NeuMF, perceptron
from kerasrec.testing import CHECKS, ModelCase, random_inputs, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too

CASES = {
    "ids": ModelCase(
        EmbeddingMLP,
        num_params=(
            (USERS + ITEMS) * 8  # tables
            + (16 + 1) * 12  # user and item rows -> hidden
            + (12 + 1) * 6  # hidden -> hidden
            + (6 + 1)  # hidden -> score
        ),
        kwargs={"embedding_dim": 8, "hidden_units": (12, 6), "initial_bias": 0.5, "l2": 1e-4},
    ),
    "all kinds of features": ModelCase(
        EmbeddingMLP,
        schema=tiny_schema(features=True),
        num_params=(
            (USERS + ITEMS + 6 + 5) * 8  # user, item, genres, device; history reads the item table
            + (8 + 1 + 8 + 8 + 8 + 8 + 2 + 1) * 16  # user age device history item genres picture
            + (16 + 1)
        ),
        kwargs={"embedding_dim": 8, "hidden_units": (16,)},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)


def test_score_is_the_equation():
    model = EmbeddingMLP(tiny_schema(), embedding_dim=1, hidden_units=(2,), initial_bias=10.0)
    user, item = 3.0, -5.0
    tables = model.features.tables
    tables["user_id"].embeddings.assign(np.full((USERS, 1), user))
    tables["item_id"].embeddings.assign(np.full((ITEMS, 1), item))
    model.hidden[0].kernel.assign([[1.0, 2.0], [1.0, -1.0]])  # rows: user, item
    model.hidden[0].bias.assign([0.5, 0.0])
    model.output_layer.kernel.assign([[7.0], [2.0]])
    # relu(3 - 5 + 0.5) = 0 and relu(6 + 5) = 11
    inputs = {"user_id": np.array([2]), "item_id": np.array([2])}
    assert float(model(inputs)[0]) == 7 * 0 + 2 * 11 + 10


def test_without_hidden_layers_it_is_linear():
    model = EmbeddingMLP(tiny_schema(), embedding_dim=4, hidden_units=())
    assert model.count_params() == (USERS + ITEMS) * 4 + 8 + 1


def test_dropout_acts_in_training_only():
    model = EmbeddingMLP(tiny_schema(), dropout=0.5)
    inputs = random_inputs(tiny_schema(), 32)
    calm = [np.asarray(model(inputs)) for _ in range(2)]
    shaken = [np.asarray(model(inputs, training=True)) for _ in range(2)]
    assert np.array_equal(*calm)
    assert not np.array_equal(*shaken)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("embedding_dim", 0), ("hidden_units", (8, 0)), ("dropout", 1.5), ("l2", -0.1)],
)
def test_bad_arguments(argument, value):
    number = value[-1] if argument == "hidden_units" else value
    names = "rate" if argument == "dropout" else argument  # dropout is refused by Keras itself
    with pytest.raises(ValueError, match=f"{names}.*{number!r}"):
        EmbeddingMLP(tiny_schema(), **{argument: value})


@pytest.mark.parametrize("hidden_units", [(12, 6), (5,), ()])
def test_candidates_that_share_a_query_score_as_pairs_do(hidden_units):
    """The part of the first layer that reads the query is computed once per query."""
    schema = tiny_schema(features=True)
    model = EmbeddingMLP(schema, embedding_dim=8, hidden_units=hidden_units)
    inputs = random_inputs(schema, 5, candidates=7)
    together = np.asarray(model(inputs))
    items = {feature.name for feature in schema.item}
    for at in range(7):
        pairs = {n: values[:, at] if n in items else values for n, values in inputs.items()}
        np.testing.assert_allclose(together[:, at], model(pairs), rtol=1e-5, atol=1e-5)


def test_the_query_is_multiplied_once_whatever_the_number_of_candidates(monkeypatch):
    model = EmbeddingMLP(tiny_schema(), embedding_dim=8, hidden_units=(12,))
    shapes = []
    matmul = perceptron.ops.matmul

    def watch(left, right):
        shapes.append(tuple(left.shape))
        return matmul(left, right)

    monkeypatch.setattr(perceptron.ops, "matmul", watch)
    model(random_inputs(tiny_schema(), 5, candidates=7))
    assert sorted(shapes)[:2] == [(5, 1, 8), (5, 7, 8)]


def test_a_quantized_first_layer_is_called_as_it_is():
    model = EmbeddingMLP(tiny_schema(), embedding_dim=8, hidden_units=(12,))
    inputs = random_inputs(tiny_schema(), 5, candidates=7)
    before = np.asarray(model(inputs))
    model.hidden[0].quantize("int8")
    np.testing.assert_allclose(model(inputs), before, atol=0.05)


def test_only_models_whose_layers_are_plain_products_have_parts():
    """Without hidden layers, or with quantized ones, the pairs themselves are scored."""
    items = {"item_id": np.arange(2, 19)}
    assert EmbeddingMLP(tiny_schema(), hidden_units=()).item_part(items) is None
    model = EmbeddingMLP(tiny_schema(), embedding_dim=8, hidden_units=(12,))
    assert model.item_part(items).shape == (17, 12)
    model.output_layer.quantize("int8")
    assert model.item_part(items) is None


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", [EmbeddingMLP, NeuMF])
def test_a_ranking_reads_each_item_once(kind, dtype):
    """However many queries there are; the scores are those of the pairs."""
    schema = tiny_schema()
    model = kind(schema, embedding_dim=8, hidden_units=(12, 6), dtype=dtype)
    read = []
    table = model.features.tables["item_id"]
    call = table.call
    table.call = lambda ids, **_: read.append(int(np.size(ids))) or call(ids)
    items = {"item_id": np.arange(2, 19)}
    query = {"user_id": np.arange(2, 13)}
    parts = ItemParts.of(model, items, queries=11)
    found = parts.scores(parts.queries(query))
    assert read == [17]
    score = block_scorer(model, items, max_memory_mb=1)
    pairs = score(query, np.broadcast_to(np.arange(17), (11, 17)))  # as candidates of a query
    assert sum(read[1:]) == 11 * 17
    bound = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(found, pairs, rtol=bound, atol=bound)


def test_a_subclass_with_another_call_alone_is_ranked_by_it():
    class Shifted(EmbeddingMLP):
        def call(self, inputs, training=False):
            return super().call(inputs, training) - 100.0 * ops.cast(inputs["item_id"], "float32")

    model = Shifted(tiny_schema(), embedding_dim=8)
    items = {"item_id": np.arange(2, 19)}
    assert ItemParts.of(model, items, queries=3) is None
    score = block_scorer(model, items, max_memory_mb=1)
    assert (np.diff(score({"user_id": np.arange(2, 5)}, None), axis=1) < -50).all()


def test_parts_that_give_no_numbers_are_refused():
    model = EmbeddingMLP(tiny_schema(), embedding_dim=8)
    model.output_layer.bias.assign([np.nan])
    parts = ItemParts.of(model, {"item_id": np.arange(2, 19)}, queries=3)
    with pytest.raises(ValueError, match="EmbeddingMLP gave NaN for 100.00%"):
        parts.scores(parts.queries({"user_id": np.arange(2, 5)}))

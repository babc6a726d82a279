"""Smaller tables: what is written, what it costs, and the budget."""

import json

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.data import Vocabulary
from kerasrec.models import EmbeddingMLP, MatrixFactorization
from kerasrec.retrieval.vector_table import VectorTable
from kerasrec.schema import Categorical, Schema
from kerasrec.serving import QuantizationBudget, export, verify
from kerasrec.serving.quantization import compress_layers, round_tables

ITEMS = 300
SCHEMA = Schema(user=Categorical("user", 22), item=Categorical("item", ITEMS + 2))
VOCABULARIES = {
    "user": Vocabulary.fit([f"user {n}" for n in range(20)]),
    "item": Vocabulary.fit(range(ITEMS)),
}


def stored(path):
    """Bytes of the variables by type."""
    prefix = str(path / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    sizes: dict[str, int] = {}
    for name, dtype in reader.get_variable_to_dtype_map().items():
        if dtype != tf.string:
            shape = reader.get_variable_to_shape_map()[name]
            sizes[dtype.name] = sizes.get(dtype.name, 0) + int(np.prod(shape)) * dtype.size
    return sizes


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_a_retriever_in_fewer_bytes_is_verified(tmp_path, kind):
    model = MatrixFactorization(SCHEMA, embedding_dim=64, stddev=0.5)
    before = model.get_weights()
    path = export(model, tmp_path, vocabularies=VOCABULARIES, k=20, quantize=kind)
    report = verify(path)
    about = json.loads((path / "tables.json").read_text())
    assert report.quantization == about and f"quantization: {kind}" in str(report)
    assert 0 < about["score_difference"] < 0.02 and about["recall@100"] > 0.99
    rows = 22 + (ITEMS + 2) + ITEMS  # users, items, and the vectors of the catalogue
    sizes = stored(path)
    if kind == "float16":
        assert sizes["float16"] == 2 * (64 * (22 + ITEMS + 2) + 66 * ITEMS)
    else:
        assert sizes["int8"] == 64 * (22 + ITEMS + 2) + 66 * ITEMS
        assert sizes["uint8"] == sizes["int8"] / 2
    # Scales, popularity, biases, and the norms and columns of similar items.
    assert sizes["float32"] <= 4 * (rows + 22 + 4 * (ITEMS + 2) + 66 + 1)
    assert verify(path, model=model, vocabularies=VOCABULARIES).problems == ()
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_budget_that_is_passed_leaves_nothing(tmp_path):
    model = MatrixFactorization(SCHEMA, embedding_dim=16, stddev=1.0)
    options = {"vocabularies": VOCABULARIES, "quantize": "int8"}
    with pytest.raises(ValueError, match=r"scores differ by up to 0.*the budget is 1e-06 and 50.0"):
        export(model, tmp_path, budget=QuantizationBudget(1e-6, 0.5), **options)
    with pytest.raises(ValueError, match="of the 100 best items are found, over 200 random"):
        export(model, tmp_path, budget=QuantizationBudget(1.0, 1.1), **options)
    with pytest.raises(ValueError, match="quantize must be one of"):
        export(model, tmp_path, vocabularies=VOCABULARIES, quantize="int4")
    assert [entry.name for entry in tmp_path.iterdir()] == [".export.lock"]


def test_only_vectors_of_items_in_stock_are_written(tmp_path):
    model = MatrixFactorization(SCHEMA, embedding_dim=8)
    path = export(
        model,
        tmp_path,
        vocabularies=VOCABULARIES,
        candidates=np.arange(2, 12),
        signatures=["recommend"],
        quantize="int8",
    )
    shapes = [shape for _, shape in tf.train.list_variables(str(path / "variables" / "variables"))]
    assert [10, 10] in shapes and [ITEMS, 10] not in shapes and [ITEMS + 2, 8] not in shapes


def test_layers_read_what_rounded_weights_hold():
    layers, rounded = (
        EmbeddingMLP(SCHEMA, embedding_dim=16, hidden_units=(8,), stddev=1.0) for _ in range(2)
    )
    rounded.set_weights(layers.get_weights())
    tables = compress_layers(layers, "int8")
    round_tables(rounded, "int8")
    assert [table.kind for table in tables] == ["int8", "int8"]
    inputs = {"user": np.array([2, 3]), "item": np.array([[4, 5], [6, 1]])}
    np.testing.assert_allclose(layers(inputs), rounded(inputs), atol=1e-6)
    table = layers.features.tables["item"]
    exact = VectorTable(np.asarray(table.embeddings.value), "int8").numpy()
    np.testing.assert_array_equal(rounded.features.tables["item"].embeddings, exact)


@pytest.mark.slow
def test_of_100000_items_nearly_all_of_the_best_100_are_found(tmp_path):
    """2.3 times smaller or more; items alone with a lookup of 8 bits would find fewer."""
    items = 100_000
    schema = Schema(user=Categorical("user", 1002), item=Categorical("item", items + 2))
    vocabularies = {"user": Vocabulary.fit(range(1000)), "item": Vocabulary.fit(range(items))}
    model = MatrixFactorization(schema, embedding_dim=64, use_bias=False, stddev=1.0)
    sizes = {}
    for kind in ("float32", "int8"):
        path = export(
            model, tmp_path, vocabularies=vocabularies, quantize=kind, signatures=["recommend"]
        )
        sizes[kind] = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert json.loads((path / "tables.json").read_text())["recall@100"] > 0.995
    assert sizes["float32"] > 2 * sizes["int8"]

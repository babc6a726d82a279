"""Vectors of a catalogue, computed block by block."""

import numpy as np
import pytest

from kerasrec.models import MatrixFactorization
from kerasrec.retrieval.item_vectors import item_vectors
from kerasrec.schema import Categorical, Schema


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_the_vectors_of_a_catalogue_do_not_depend_on_the_block(rows):
    model = MatrixFactorization(Schema(Categorical("user", 5), Categorical("item", 9)))
    ids = np.array([2, 5, 8, 3, 4], np.int32)
    vectors = item_vectors(model, {"item": ids}, rows=rows)
    np.testing.assert_array_equal(vectors, model.item_embedding({"item": ids}))

"""Raw ids: encoding as the graph does it, padding, types."""

import numpy as np
import pytest

from kerasrec.data import Vocabulary
from kerasrec.schema import Bag, Categorical, IdSequence, Numeric, Schema
from kerasrec.serving.raw_ids import encode_raw, vocabulary_names

SCHEMA = Schema(
    user=(Categorical("user", 4), IdSequence("history", "item", 3)),
    item=(Categorical("item", 5), Bag("tags", 4, 2), Numeric("price")),
)
VOCABULARIES = {
    "user": Vocabulary.fit(["a", "b"]),
    "item": Vocabulary.fit([7, 8, 9]),
    "tags": Vocabulary.fit(["x", "y"]),
}


@pytest.mark.parametrize("padded, first", [(True, 0), (False, 1)])
def test_padding_is_zero_in_a_matrix_and_unknown_alone(padded, first):
    text = encode_raw(np.array(["", "b", "?"], object), VOCABULARIES["user"], padded=padded)
    numbers = encode_raw(np.array([[-1, 9], [5, 7]]), VOCABULARIES["item"], padded=padded)
    assert text.tolist() == [first, 3, 1] and text.dtype == np.int32
    assert numbers.tolist() == [[first, 4], [1, 2]]


def test_an_export_needs_the_vocabularies_of_the_features_and_of_the_filter():
    assert vocabulary_names(SCHEMA) == vocabulary_names(SCHEMA, "tags") == ["user", "item", "tags"]
    assert vocabulary_names(SCHEMA, "city") == ["user", "item", "tags", "city"]
    with pytest.raises(ValueError, match="filter_by must name a column of ids of the items"):
        vocabulary_names(SCHEMA, "price")

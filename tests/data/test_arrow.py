import numpy as np
import pyarrow as pa
import pytest

from kerasrec.data.arrow import check_ids, columns_of, joined, to_arrow, to_context, to_ids


def test_nan_is_missing_and_dictionaries_are_decoded():
    assert to_arrow(np.array([1.0, np.nan]), "c").null_count == 1
    assert to_arrow(pa.array([1.0, float("nan")]), "c").null_count == 1
    assert to_arrow(pa.array(["a", None]).dictionary_encode(), "c").type == pa.string()


def test_empty_strings_are_missing_ids_and_missing_ids_are_kept():
    assert to_ids(["a", "", None], "c").to_pylist() == ["a", None, None]
    assert to_ids([None, None], "c").type == pa.string()
    with pytest.raises(ValueError, match="c: 2 of 3 ids are missing"):
        check_ids(to_ids(["a", "", None], "c"), "c")


def test_context_is_a_category_or_a_number():
    types = [to_context(values, "c").type for values in ([1], [0.5], ["a"], [True])]
    assert types == [pa.int64(), pa.float32(), pa.string(), pa.int64()]


def test_columns_of_one_length_make_a_table():
    assert joined({"a": pa.array([1]), "b": pa.array(["x"])}).column_names == ["a", "b"]
    with pytest.raises(ValueError, match="one length; received {'a': 1, 'b': 2}"):
        joined({"a": pa.array([1]), "b": pa.array([1, 2])})
    assert list(columns_of(pa.table({"a": [1], "__index_level_0__": [7]}))) == ["a"]

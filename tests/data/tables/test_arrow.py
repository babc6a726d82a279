import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.tables.arrow import (
    TEXT_IDS,
    check_ids,
    columns_of,
    distinct_ids,
    joined,
    to_arrow,
    to_context,
    to_ids,
    to_time,
)
from kerasrec.data.tables.interactions import Interactions


def test_nan_is_missing_and_dictionaries_are_decoded():
    assert to_arrow(np.array([1.0, np.nan]), "c").null_count == 1
    assert to_arrow(pa.array([1.0, float("nan")]), "c").null_count == 1
    assert to_arrow(pa.array(["a", None]).dictionary_encode(), "c").type == pa.string()


def test_empty_strings_are_missing_ids_and_missing_ids_are_kept():
    assert to_ids(["a", "", None], "c").to_pylist() == ["a", None, None]
    assert to_ids([None, None], "c").type == TEXT_IDS
    with pytest.raises(ValueError, match="c: 2 of 3 ids are missing"):
        check_ids(to_ids(["a", "", None], "c"), "c")


def test_context_is_a_category_or_a_number():
    types = [to_context(values, "c").type for values in ([1], [0.5], ["a"], [True])]
    assert types == [pa.int64(), pa.float32(), TEXT_IDS, pa.int64()]


def test_columns_of_one_length_make_a_table():
    assert joined({"a": pa.array([1]), "b": pa.array(["x"])}).column_names == ["a", "b"]
    with pytest.raises(ValueError, match="one length; received {'a': 1, 'b': 2}"):
        joined({"a": pa.array([1]), "b": pa.array([1, 2])})
    assert list(columns_of(pa.table({"a": [1], "__index_level_0__": [7]}))) == ["a"]


def test_text_of_any_origin_is_one_dictionary():
    words = pa.array(["b", "a", "", "b", None])
    for values in (
        words,
        words.cast(pa.binary()),
        words.dictionary_encode(),
        pa.chunked_array([words[:2].dictionary_encode(), words[2:].dictionary_encode()]),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int8()), words),
        pd.Series(["b", "a", "", "b", None], dtype="category"),
        pd.Series(["b", "a", "", "b", None]),
    ):
        ids = to_ids(values, "c")
        assert ids.type == TEXT_IDS and ids.to_pylist() == ["b", "a", None, "b", None]
        known, positions = distinct_ids(ids.drop_null())
        assert known.to_pylist() == ["b", "a"] and positions.tolist() == [0, 1, 0]


def test_only_texts_that_occur_are_checked():
    ids = to_ids(pa.array(["a", "b\n"]).dictionary_encode(), "c")
    check_ids(ids[:1], "c")
    with pytest.raises(ValueError, match="c: ids must be one line of text; received 'b\\\\n'"):
        check_ids(ids, "c")


@pytest.mark.slow
def test_more_text_than_32_bits_can_count():
    """As 60 million UUIDs are; 720 chunks of the same three million bytes stand for them."""
    names = [f"{n:03000}" for n in range(1000)]
    users = pa.chunked_array([pa.array(names)] * 720)
    table = pa.table({"user_id": users, "item_id": np.arange(len(users)) % 7})
    rows = Interactions.from_table(table, label=None, time=None, duplicates="keep")
    assert (len(rows), rows.num_users) == (720_000, 1000)
    assert rows.take([5, 719_999]).column("user_id").tolist() == [names[5], names[999]]
    vocabulary = Vocabulary.fit(rows.table["user_id"])
    assert vocabulary.counts.tolist() == [720] * 1000
    assert vocabulary.encode(users).max() == 1001


@pytest.mark.parametrize("values", [[7.0, None, 8.0], np.array([7.0, np.nan, 8.0], np.float32)])
def test_whole_floats_are_integers(values):
    assert to_ids(values, "c").to_pylist() == [7, None, 8]
    for wrong in (7.5, 2.0**53, float("inf")):
        with pytest.raises(ValueError, match="received the type double with .*whole numbers"):
            to_ids([1.0, wrong], "c")


def test_seconds_with_a_fraction_become_microseconds():
    assert to_time([1.5, None, 2.0], "c").to_pylist() == [1_500_000, None, 2_000_000]
    assert to_time([1.0, 2.0], "c").to_pylist() == [1, 2]
    assert to_time([decimal.Decimal("1.25")], "c").to_pylist() == [1_250_000]

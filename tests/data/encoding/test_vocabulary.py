import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data.encoding import id_table
from kerasrec.data.encoding.id_table import hash_values
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import (
    FILE_NAME,
    load_vocabularies,
    save_vocabularies,
)

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1, max_size=8
)
RAW_IDS = st.one_of(
    st.lists(TEXT, min_size=1, max_size=30),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=30),
)


def test_ids_follow_the_first_appearance_and_counts_are_popularity():
    vocabulary = Vocabulary.fit([30, 10, 30, 20, 10, 30])
    assert vocabulary.ids.tolist() == [30, 10, 20]
    assert vocabulary.counts.tolist() == [3, 2, 1]
    assert vocabulary.encode([20, 30, 99]).tolist() == [4, 2, 1]
    assert vocabulary.encode([20]).dtype == np.int32
    assert (vocabulary.num_ids, len(vocabulary), vocabulary.dtype) == (5, 3, "int64")


@given(RAW_IDS)
@settings(max_examples=60, deadline=None)
def test_decode_is_the_inverse_of_encode(values):
    vocabulary = Vocabulary.fit(values)
    encoded = vocabulary.encode(values)
    assert encoded.min() >= 2 and encoded.max() < vocabulary.num_ids
    assert vocabulary.decode(encoded).tolist() == values
    assert vocabulary.counts.sum() == len(values)


@given(RAW_IDS, RAW_IDS)
@settings(max_examples=60, deadline=None)
def test_fingerprints_are_equal_where_the_same_ids_are_encoded_alike(values, others):
    ours, theirs = Vocabulary.fit(values), Vocabulary.fit(others)
    same = ours.dtype == theirs.dtype and ours.ids.tolist() == theirs.ids.tolist()
    assert (ours.fingerprint == theirs.fingerprint) == same
    again = Vocabulary.from_table(ours.to_table(), "other")
    assert again.fingerprint == ours.fingerprint
    turned = Vocabulary(ours.ids[::-1], ours.counts[::-1])
    assert (turned.fingerprint == ours.fingerprint) == (len(ours) == 1)


def test_fingerprints_do_not_depend_on_the_layout(monkeypatch):
    words, numbers = np.array(["a", "bc", "d"], object), np.arange(5)
    expected = [hash_values(words), hash_values(numbers), hash_values(numbers.astype(">i8"))]
    assert expected[1] == expected[2] != hash_values(numbers.astype(np.int32))
    assert hash_values(np.array(["a", "b", "cd"], object)) != expected[0]
    chunks = pa.chunked_array([pa.array(["a"]), pa.array(["x", "bc", "d"]).slice(1)])
    assert Vocabulary.fit(chunks).fingerprint == Vocabulary.fit(words).fingerprint
    monkeypatch.setattr(id_table, "_HASHED_AT_ONCE", 2)
    assert [hash_values(words), hash_values(numbers)] == expected[:2]


@given(st.dictionaries(TEXT, RAW_IDS, min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_saving_keeps_everything(tmp_path_factory, columns):
    directory = tmp_path_factory.mktemp("vocabularies")
    vocabularies = {name: Vocabulary.fit(values, name) for name, values in columns.items()}
    assert save_vocabularies(vocabularies, directory) == directory / FILE_NAME
    loaded = load_vocabularies(directory)
    assert list(loaded) == list(vocabularies)
    for name, vocabulary in vocabularies.items():
        assert loaded[name].ids.tolist() == vocabulary.ids.tolist()
        assert loaded[name].counts.tolist() == vocabulary.counts.tolist()
        assert (loaded[name].dtype, loaded[name].name) == (vocabulary.dtype, name)
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "values",
    [
        ["b", "a", "b"],
        np.array(["b", "a", "b"]),
        np.array(["b", "a", "b"], object),
        np.array([b"b", b"a", b"b"]),
        pa.array(["b", "a", "b"]),
        pa.array(["b", "a", "b"], pa.large_string()),
        pa.array(["b", "a", "b"], pa.string_view()),
        pa.chunked_array([["b"], ["a", "b"]]),
        pa.chunked_array([["b"], ["a", "b"]]).dictionary_encode(),
        pd.Series(["b", "a", "b"]),
        pd.Series(["b", "a", "b"], dtype=object),
        pd.Series(["b", "a", "b"], dtype="category"),
        pd.Series(["b", "a", "b"], dtype="string[pyarrow]"),
    ],
    ids=lambda values: f"{type(values).__name__} {getattr(values, 'dtype', '')}",
)
def test_strings_of_any_origin(values):
    vocabulary = Vocabulary.fit(values)
    assert vocabulary.ids.tolist() == ["b", "a"]
    assert vocabulary.encode(values).tolist() == [2, 3, 2]
    assert vocabulary.dtype == "string"


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "uint64"])
def test_integers_of_any_width(dtype):
    vocabulary = Vocabulary.fit(np.array([5, 3], dtype))
    assert vocabulary.ids.dtype == np.int64
    assert vocabulary.encode(np.array([3, 5, 7], dtype)).tolist() == [3, 2, 1]


def test_large_integers_and_unicode_stay_exact():
    large = [2**63 - 1, 2**53 + 1, 2**53, 2**31, 0]
    assert Vocabulary.fit(large).decode([2, 3, 4, 5, 6]).tolist() == large
    composed, decomposed = "\u00e9", "e\u0301"
    vocabulary = Vocabulary.fit([composed, "日本", "🎬", " ", "7", "07"])
    assert vocabulary.encode([decomposed, composed, "7", "07"]).tolist() == [1, 2, 6, 7]


def test_numbers_as_text_are_not_integers():
    with pytest.raises(ValueError, match="holds string ids; received int64, such as 7"):
        Vocabulary.fit(["7"]).encode([7])
    with pytest.raises(ValueError, match="holds int64 ids; received string, such as '7'"):
        Vocabulary.fit([7]).encode(["7"])


@pytest.mark.parametrize(
    "values, message",
    [
        ([], "no values"),
        ([-1], "received -1"),
        ([2**63], "integer below 2\\*\\*63"),
        (np.array([2**63], np.uint64), "received 9223372036854775808"),
        ([1.5], "integers or strings; received the type double"),
        ([True], "received the type bool"),
        (["a", 1], "one type"),
        (["a", None], "1 of 2 ids are missing"),
        (["a", ""], "1 of 2 ids are missing"),
        ([None, None], "2 of 2 ids are missing"),
        (["a\nb"], "one line of text"),
        (["a\rb"], "one line of text"),
        ([b"\xff"], "UTF-8"),
        (np.ones((2, 2), int), "one column"),
        (3, "one column"),
        ([[1]], "received the type list"),
    ],
)
def test_refused_ids(values, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.fit(values, name="item_id")


def test_decode_keeps_the_shape_and_refuses_what_has_no_raw_id():
    vocabulary = Vocabulary.fit(["a", "b"])
    assert vocabulary.decode(np.array([[2, 3], [3, 2]])).tolist() == [["a", "b"], ["b", "a"]]
    assert vocabulary.decode([]).tolist() == []
    for ids in ([0], [1], [4], [-1]):
        with pytest.raises(ValueError, match="neither has a raw id"):
            vocabulary.decode(ids)
    with pytest.raises(ValueError, match="integer ids; received float64"):
        vocabulary.decode([2.0])


@pytest.mark.parametrize(
    "ids, counts, message",
    [
        (["a", "a"], [1, 1], "received 2 ids of which 1 are distinct"),
        (["a"], [1, 2], "expected 1 non-negative integer counts"),
        (["a"], [-1], "non-negative"),
        (["a"], [0.5], "integer counts"),
    ],
)
def test_ids_and_counts_must_agree(ids, counts, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids, counts)


def test_a_vocabulary_is_frozen_and_leaves_its_input_alone():
    ids, counts = np.array([4, 5]), np.array([1, 2])
    vocabulary = Vocabulary(ids, counts)
    ids[0], counts[0] = 9, 9
    assert (vocabulary.ids[0], vocabulary.counts[0]) == (4, 1)
    with pytest.raises(ValueError, match="read-only"):
        vocabulary.ids[0] = 1
    with pytest.raises(AttributeError):
        vocabulary.name = "other"


def test_table_round_trip():
    table = Vocabulary.fit(["b", "a", "b"], "item_id").to_table()
    assert table.to_pydict() == {"id": ["b", "a"], "count": [2, 1]}
    assert Vocabulary.from_table(table, "item_id").encode(["a"]).tolist() == [3]
    with pytest.raises(ValueError, match="expected the columns 'id' and 'count'"):
        Vocabulary.from_table(table.select(["id"]))


def test_loading_refuses_other_files(tmp_path):
    with pytest.raises(ValueError, match="there is no file vocabularies.parquet"):
        load_vocabularies(tmp_path)
    (tmp_path / FILE_NAME).write_text("hello")
    with pytest.raises(ValueError, match="not a readable Parquet file"):
        load_vocabularies(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / FILE_NAME)
    with pytest.raises(ValueError, match="version 'none'"):
        load_vocabularies(tmp_path)
    newer = pa.table({"a": [1]}).replace_schema_metadata({"kerasrec.vocabularies": "4"})
    pq.write_table(newer, tmp_path / FILE_NAME)
    with pytest.raises(
        ValueError, match="reads versions 1 to 3.*received version '4'.*pip install -U"
    ):
        load_vocabularies(tmp_path)


def test_a_table_of_numbers_has_no_vocabularies(tmp_path):
    save_vocabularies({}, tmp_path)
    assert load_vocabularies(tmp_path) == {}


def test_a_file_of_version_1_is_read(tmp_path):
    table = pa.table(
        {
            "feature": ["user", "user", "item"],
            "int64_id": pa.array([7, 9, None], pa.int64()),
            "string_id": pa.array([None, None, "a"], pa.large_string()),
            "count": [2, 1, 3],
        }
    )
    first = table.replace_schema_metadata({"kerasrec.vocabularies": "1"})
    pq.write_table(first, tmp_path / FILE_NAME)
    found = load_vocabularies(tmp_path)
    assert {name: one.ids.tolist() for name, one in found.items()} == {
        "user": [7, 9],
        "item": ["a"],
    }


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    save_vocabularies({"item_id": Vocabulary.fit([1, 2])}, tmp_path)

    def full(*arguments, **keywords):
        raise OSError("No space left on device")

    monkeypatch.setattr("kerasrec.data.encoding.vocabulary_file.pq.write_table", full)
    with pytest.raises(OSError, match="No space"):
        save_vocabularies({"item_id": Vocabulary.fit([3])}, tmp_path)
    assert load_vocabularies(tmp_path)["item_id"].ids.tolist() == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@given(st.lists(st.integers(0, 6), min_size=1), st.integers(1, 5))
def test_rare_ids_are_unknown(values, min_count):
    frequent = [x for x in dict.fromkeys(values) if values.count(x) >= min_count]
    if not frequent:
        with pytest.raises(ValueError, match=f"no id occurs {min_count} times; the most frequent"):
            Vocabulary.fit(values).frequent(min_count)
        return
    vocabulary = Vocabulary.fit(values).frequent(min_count)
    assert vocabulary.ids.tolist() == frequent
    assert vocabulary.counts.tolist() == [values.count(x) for x in frequent]
    assert (vocabulary.encode(values) == 1).tolist() == [x not in frequent for x in values]


@pytest.mark.parametrize("min_count", [0, -1, 1.5, True, None])
def test_min_count_is_a_positive_integer(min_count):
    with pytest.raises(ValueError, match="min_count must be an integer of at least 1"):
        Vocabulary.fit([1, 1]).frequent(min_count)

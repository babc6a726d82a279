"""Vocabularies of files: those of the rows in memory, counted in pieces of any size."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Interactions, fit_vocabularies
from kerasrec.data.encoding import counting
from kerasrec.data.encoding.vocabulary import Vocabulary

IDS = st.one_of(
    st.lists(st.text(st.sampled_from("abc\u00e9"), min_size=1, max_size=3), min_size=2),
    st.lists(st.integers(0, 9), min_size=2),
)


@given(values=IDS, size=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_pieces_make_the_vocabulary_of_the_whole(values, size):
    counter = counting.IdCounter("id")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SLICE_ROWS", 2)
        for start in range(0, len(values), size):
            counter.add(values[start : start + size])
    found, whole = counter.vocabulary(), Vocabulary.fit(values)
    assert found.ids.tolist() == whole.ids.tolist()
    assert found.counts.tolist() == whole.counts.tolist()


def test_files_give_the_vocabularies_of_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "SLICE_ROWS", 10)
    rng = np.random.default_rng(0)
    table = pa.table({
        "user_id": [f"u{n:02}" for n in rng.integers(0, 40, 300)],
        "item_id": rng.integers(0, 9, 300),
        "device": pa.array(["tv", "pc"] * 150).dictionary_encode(),
        "vector": [[0.0] * 4] * 300,
    })  # fmt: skip
    for part in range(3):
        pq.write_table(table[part * 100 :][:100], tmp_path / f"{part}.parquet", row_group_size=30)
    rows = Interactions.from_table(
        table, label=None, time=None, context=["device"], duplicates="keep"
    )
    whole = fit_vocabularies(rows)
    found = fit_vocabularies(tmp_path, columns=["user_id", "item_id", "device"])
    assert list(found) == list(whole)
    for name, vocabulary in whole.items():
        assert found[name].ids.tolist() == vocabulary.ids.tolist()
        assert found[name].counts.tolist() == vocabulary.counts.tolist()
    assert list(fit_vocabularies(tmp_path / "0.parquet")) == ["user_id", "item_id"]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ({"user_id": [1, 2]}, ["user_id", "item_id"], r"expected the columns \['item_id'"),
        ({"user_id": [1, 2], "item_id": [3, 3]}, ["user_id", "item_id"], "a single item; all 2 "),
        ({"user_id": [1, None]}, ["user_id"], "'user_id': 1 of 2 ids are missing"),
        ({"user_id": [1, -2]}, ["user_id"], "received -2"),
        ({"user_id": pa.array([], pa.int64())}, ["user_id"], "'user_id' has no rows"),
        ({"user_id": [1, 2]}, "user_id", "columns takes names of columns"),
    ],
)  # fmt: skip
def test_refused_files(tmp_path, table, columns, message):
    pq.write_table(pa.table(table), tmp_path / "0.parquet")
    with pytest.raises(ValueError, match=message):
        fit_vocabularies(tmp_path, columns=columns)


def test_files_of_two_types_and_no_files(tmp_path):
    pq.write_table(pa.table({"user_id": [1, 2]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"user_id": ["1", "2"]}), tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="one type in all files; received int64 and large_string"):
        fit_vocabularies(tmp_path, columns=["user_id"])
    (tmp_path / "2.parquet").write_text("x")
    with pytest.raises(ValueError, match="2.parquet is not a readable Parquet file"):
        fit_vocabularies(tmp_path / "2.parquet", columns=["user_id"])
    with pytest.raises(ValueError, match="there is none at"):
        fit_vocabularies(tmp_path / "none")

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kerasrec.data import (
    HashBuckets,
    Interactions,
    Vocabulary,
    fit_vocabularies,
    load_vocabularies,
    prepare,
    save_vocabularies,
)
from kerasrec.schema import Hashed


def test_a_value_is_several_rows_and_a_missing_one_none():
    hashes = HashBuckets.fit(["a", None, "b", ""], 50, 3)
    assert (hashes.num_ids, hashes.rows, hashes.dtype) == (52, 2, "string")
    found = hashes.encode(["a", "", None, "never seen", "a"])
    assert found.dtype == np.int32 and found.shape == (5, 3)
    assert found[1:3].tolist() == [[0] * 3] * 2
    assert found[[0, 3]].min() >= 2 and found.max() < 52
    assert found[0].tolist() == found[4].tolist() != found[3].tolist()
    assert hashes.encode([]).shape == hashes.encode([None, None])[:0].shape == (0, 3)
    # The first functions are the same, whatever their number.
    assert HashBuckets(50, 2).encode(["a"]).tolist() == found[:1, :2].tolist()


def test_integers_are_hashed_by_their_decimals():
    numbers = [7, -3, 2**40, -(2**63), 2**63 - 1]
    hashes = HashBuckets.fit(numbers)
    texts = HashBuckets(hashes.num_buckets).encode([str(number) for number in numbers])
    assert hashes.dtype == "int64" and hashes.encode(numbers).tolist() == texts.tolist()
    frame = pd.DataFrame({"x": [7, None, -1]})  # floats; -1 pads requests
    assert hashes.encode(frame["x"]).tolist() == [texts[0].tolist(), [0, 0], [0, 0]]


def test_values_are_spread_evenly():
    found = HashBuckets(64).encode([f"device-{number}" for number in range(6400)]) - 2
    counts = np.bincount(found.ravel(), minlength=64)
    # 63 degrees of freedom: about 63 with a deviation of 11.
    assert np.sum((counts - 200) ** 2 / 200) < 63 + 5 * 11
    assert np.mean(found[:, 0] == found[:, 1]) < 0.03


@pytest.mark.parametrize(
    ("distinct", "buckets"), [(1, 1024), (4096, 1024), (4097, 2048), (40_000, 16_384)]
)
def test_buckets_are_a_quarter_of_the_values(distinct, buckets):
    assert HashBuckets.fit(np.arange(distinct)).num_buckets == buckets


def test_a_file_holds_hashes_beside_vocabularies(tmp_path):
    saved = {
        "device": HashBuckets.fit(["a", "b"], 32, 3, name="device"),
        "city": Vocabulary.fit(["Rome", "Oslo"], "city"),
        "account": HashBuckets.fit([5, 6, 7], name="account"),
    }
    save_vocabularies(saved, tmp_path)
    found = load_vocabularies(tmp_path)
    assert list(found) == list(saved)
    assert found["device"] == saved["device"] and found["account"] == saved["account"]
    assert found["city"].ids.tolist() == ["Rome", "Oslo"]
    prints = {encoder.fingerprint for encoder in saved.values()}
    assert len(prints) == 3 and found["device"].fingerprint in prints
    assert saved["device"].fingerprint != HashBuckets(32, 2).fingerprint


@pytest.mark.parametrize("hashed", [False, True])
def test_the_file_has_the_oldest_version_that_holds_it(hashed, tmp_path):
    encoders = {"city": Vocabulary.fit(["Rome", "Oslo"])}
    encoders |= {"device": HashBuckets(8)} if hashed else {}
    schema = pa.parquet.read_schema(save_vocabularies(encoders, tmp_path))
    assert schema.metadata[b"kerasrec.vocabularies"] == (b"3" if hashed else b"2")


def test_a_context_column_of_interactions_is_hashed():
    rows = Interactions.from_table(
        {
            "user_id": [1, 1, 2, 2], "item_id": [5, 6, 5, 6], "rating": [1, 5, 4, 2],
            "device": ["a", "b", "b", "c"],
        },
        context=["device"], time=None,
    )  # fmt: skip
    hashes = HashBuckets(16, name="device")
    ready = prepare(rows, vocabularies=fit_vocabularies(rows) | {"device": hashes})
    (device,) = ready.schema.context
    assert device == Hashed("device", 18, 2, fingerprint=hashes.fingerprint)
    np.testing.assert_array_equal(ready.train["device"], hashes.encode(["a", "b", "b", "c"]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HashBuckets(1), "num_buckets must be an integer"),
        (lambda: HashBuckets(2**31), "num_buckets must be an integer"),
        (lambda: HashBuckets(8, 0), "num_hashes must be an integer"),
        (lambda: HashBuckets(8, 17), "num_hashes must be an integer"),
        (lambda: HashBuckets(8, dtype="float32"), "dtype must be one of"),
        (lambda: HashBuckets(8, rows=-1), "rows must be an integer"),
        (lambda: HashBuckets.fit(["", None]), "received no values"),
        (lambda: HashBuckets.fit([1.5, 2.5]), "ids must be integers or strings"),
        (lambda: HashBuckets(8).encode([3]), "expected string values.*received int64, such as 3"),
        (lambda: HashBuckets(8, dtype="int64").encode(["a"]), "expected int64 values.*such as 'a'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()

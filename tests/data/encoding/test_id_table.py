import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.data.encoding import id_table
from kerasrec.data.encoding.id_table import MULTIPLIER, IdTable, TextTable, sip_hash

INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(ids=st.lists(INTEGERS, min_size=1, max_size=200, unique=True), others=st.lists(INTEGERS))
def test_finds_every_id_and_nothing_else(ids, others):
    table = IdTable(np.array(ids, np.int64))
    asked = [*ids, *others]
    places = {number: place for place, number in enumerate(ids)}
    found = table.find(np.array(asked, np.int64))
    assert found.dtype == np.int32
    assert found.tolist() == [places.get(number, -1) for number in asked]


def test_ids_that_want_the_same_slot():
    """Their products with the multiplier differ in the lowest bits alone."""
    inverse = pow(int(MULTIPLIER), -1, 2**64)
    ids = np.array([k * inverse % 2**64 for k in range(1000)], np.uint64).view(np.int64)
    table = IdTable(ids[:600])
    assert table.find(ids).tolist() == [*range(600), *[-1] * 400]


def test_needs_an_id():
    with pytest.raises(ValueError, match="at least one id; received none"):
        IdTable(np.empty(0, np.int64))


TEXTS = st.text(st.sampled_from("ab\x00é日"), max_size=20)


def large(values):
    return pa.array(values, pa.large_string())


@given(ids=st.lists(TEXTS, min_size=1, max_size=60, unique=True), others=st.lists(TEXTS))
def test_finds_every_text_and_nothing_else(ids, others):
    asked = [*others, *ids]
    places = {text: place for place, text in enumerate(ids)}
    found = TextTable(large(["x", *ids])[1:]).find(large([*asked, "x"])[: len(asked)])
    assert found.dtype == np.int32
    assert found.tolist() == [places.get(text, -1) for text in asked]


def test_texts_of_one_hash_are_told_apart(monkeypatch):
    """The table is asked for the hash alone, so the text itself is compared."""
    table = TextTable(large(["ann", "bob"]))
    plain = id_table.hash_texts
    known = plain(large(["ann"]), 0)
    monkeypatch.setattr(id_table, "hash_texts", lambda texts, seed: np.repeat(known, len(texts)))
    assert table.find(large(["ann", "eve"])).tolist() == [0, -1]


def test_another_seed_where_hashes_meet(monkeypatch):
    plain = id_table.hash_texts
    monkeypatch.setattr(id_table, "hash_texts", lambda texts, seed: plain(texts, seed) * (seed > 1))
    assert TextTable(large(["ann", "bob"])).find(large(["bob", "x"])).tolist() == [1, -1]
    with pytest.raises(ValueError, match="2 texts, each once; some share"):
        TextTable(large(["ann", "ann"]))


def test_the_hash_is_sip_hash_2_4():
    """Vectors of the authors: the key 00 .. 0f, and the bytes 00, 01, 02 and so on."""
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    texts = [bytes(range(size)).decode() for size in (0, 1, 7, 8, 15)]
    expected = [
        0x726FDB47DD0E0E31,
        0x74F839C593DC67FD,
        0xAB0200F58B01D137,
        0x93F5F5799A932462,
        0xA129CA6149BE45E5,
    ]
    column = pa.array(["before", *texts, "after"], pa.large_string())
    assert sip_hash(column.slice(1, 5), key).tolist() == expected
    assert sip_hash(column[:0], key).shape == (0,)

"""The graph before it is saved: vocabularies inside it."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec.data import Buckets, HashBuckets, Vocabulary
from kerasrec.serving.graph.lookup import BucketLookup, HashLookup, IdLookup
from kerasrec.serving.raw_ids import encode_raw

TEXT = st.text(
    st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1, max_size=6
)
NUMBER = st.integers(0, 2**63 - 1) | st.integers(0, 9)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), kind=st.sampled_from([(TEXT, ""), (NUMBER, -1)]))
def test_the_graph_encodes_as_the_vocabulary_does(tmp_path_factory, data, kind):
    element, padding = kind
    vocabulary = Vocabulary.fit(data.draw(st.lists(element, min_size=1, max_size=8)))
    asked = [*vocabulary.ids, *data.draw(st.lists(element, max_size=8)), padding]
    asked = np.array(asked, object if padding == "" else np.int64)
    lookup = IdLookup(vocabulary, tmp_path_factory.mktemp("lookup") / "ids.txt")
    for padded in (True, False):
        received = lookup(tf.constant(asked), padded=padded).numpy()
        np.testing.assert_array_equal(received, encode_raw(asked, vocabulary, padded=padded))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_graph_finds_the_buckets_of_numbers(data):
    number = st.floats(-100, 100, width=32, allow_subnormal=False)  # TensorFlow has none
    bounds = sorted(data.draw(st.lists(number, min_size=1, max_size=6, unique=True)))
    buckets = Buckets(np.float32([-np.inf, *bounds]), np.ones(len(bounds) + 1, int))
    asked = np.float32([*bounds, *data.draw(st.lists(number, max_size=6)), np.nan, np.inf])
    lookup = BucketLookup(buckets)
    expected = buckets.encode(asked)
    np.testing.assert_array_equal(lookup(tf.constant(asked)), expected)
    assert expected[-2] == 1 and expected[-1] == buckets.num_ids - 1
    rows = tf.constant(np.stack([asked, asked]))
    np.testing.assert_array_equal(lookup(rows, padded=True)[1, -2:], [0, expected[-1]])


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ANY_NUMBER = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.integers(2**31, 2**32)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from([(ANY_TEXT, ""), (ANY_NUMBER, -1)]))
def test_the_graph_hashes_as_numpy_does(data, kind):
    element, padding = kind
    asked = [*data.draw(st.lists(element, min_size=1, max_size=8)), padding]
    asked = np.array(asked, object if padding == "" else np.int64)
    size, functions = data.draw(st.sampled_from([2, 1000, 2**20])), data.draw(st.integers(1, 3))
    hashes = HashBuckets(size, functions, "string" if padding == "" else "int64")
    received = HashLookup(hashes)(tf.constant(asked)).numpy()
    np.testing.assert_array_equal(received, hashes.encode(asked))
    assert received[-1].tolist() == [0] * functions and received[:, 0].max() < hashes.num_ids

import numpy as np
import pytest
import tensorflow as tf

from kerasrec.serving.json_tensors import example_to_json, make_example, to_array, to_json


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([[1, 2], [3, 4]], tf.int32, np.array([[1, 2], [3, 4]], np.int32)),
        ([1, 2.5, float("nan")], tf.float32, np.array([1, 2.5, np.nan], np.float32)),
        ([True, False], tf.bool, np.array([True, False])),
        ([[], []], tf.int64, np.zeros((2, 0), np.int64)),
        (2**63 - 1, tf.int64, np.array(2**63 - 1)),
        (["né", {"b64": "/w=="}], tf.string, np.array(["né".encode(), b"\xff"], object)),
    ],
)
def test_there_and_back(value, dtype, expected):
    array = to_array(value, dtype)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_equal(to_json(array, "x"), value)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        ([1, "a"], tf.int32, "expected values of type int32; received 'a'"),
        ([1.0], tf.int64, "int64; received 1.0"),
        ([True], tf.int64, "int64; received True"),
        ([None], tf.float32, "float32; received None"),
        ([2**31], tf.int32, "int32: .*out of bounds"),
        ([3], tf.string, "expected a string"),
        ([{"b64": "?"}], tf.string, "invalid base64"),
        ([{"b64": "aa", "x": 1}], tf.string, "expected a string"),
        ([[1], [2, 3]], tf.int32, r"differ in shape: \[\(1,\), \(2,\)\]. Pad"),
        ([1, [2]], tf.int32, "differ in depth"),
        ([[1], 2], tf.int32, "differ in shape"),
    ],
)
def test_nothing_is_converted_silently(value, dtype, message):
    with pytest.raises(ValueError, match=message):
        to_array(value, dtype)


def test_names_that_end_in_bytes_are_binary():
    assert to_json(np.array([b"a"], object), "image_bytes") == [{"b64": "YQ=="}]


def test_examples():
    features = {"user": "né", "raw": {"b64": "/w=="}, "age": 3.5, "ids": [1, 2]}
    example = make_example(features)
    assert example.features.feature["ids"].int64_list.value == [1, 2]
    assert example_to_json(example) == {k: v if k == "ids" else [v] for k, v in features.items()}
    for wrong, message in (({"x": [1, "a"]}, "'x': a list holds"), ([1], "an object of features")):
        with pytest.raises(ValueError, match=message):
            make_example(wrong)

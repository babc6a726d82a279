"""The Python client: what it takes, and what it says about what it does not take."""

import shutil

import numpy as np
import pytest

from kerasrec.serving import load
from kerasrec.serving.artifact import checksums


def test_batches_of_any_kind_of_array(exported):
    _, served = exported("mf", "int64", "int64")
    whole = served.recommend({"user": np.array([0, 7])}, exclude=np.array([[3], [-1]]))
    lists = served.recommend({"user": [0, 7]}, exclude=[[3], []])
    text = served.recommend({"user": ["0", "7"]}, exclude=[["3"], []])
    for other in (lists, text):
        assert other.item_id.tolist() == whole.item_id.tolist()
    assert whole.item_id.dtype == np.int64
    assert [len(row) for row in whole.rows()] == [6, 7]
    assert isinstance(whole.rows()[0][0][0], int)


def test_text_comes_back_as_text(mf_version):
    answer = load(mf_version[0].parent).recommend({"user": ["ann"]})
    assert set(answer.item_id[0]) == set(mf_version[1].vocabularies["item"].ids)


@pytest.mark.parametrize(
    "inputs, exclude, message",
    [
        ({}, [[]], r"expected the inputs \['exclude', 'user'\]; received \['exclude'\]"),
        ({"user": [1], "x": [1]}, [[]], "expected the inputs"),
        ({"user": ["né"]}, [[]], r"'user': expected 64-bit integers of shape \(batch\)"),
        ({"user": [2**63]}, [[]], "Pass integers"),
        ({"user": [1.5]}, [[]], "Pass integers"),
        ({"user": 5}, [[]], "Pass one element for each user"),
        ({"user": [1]}, [3], "expected 64-bit integers of shape .batch, n.*one list for each"),
        ({"user": [1]}, [[1], [2]], "same batch size"),
    ],
)
def test_what_does_not_fit_is_told(exported, inputs, exclude, message):
    _, served = exported("mf", "int64", "int64")
    with pytest.raises(ValueError, match=message):
        served.recommend(inputs, exclude=exclude)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"user": [7]}, "'user': expected strings .*received 7. Pass strings"),
        ({"history": [["x", 2]]}, r"shape \(batch, n\); received"),
        ({"tags": [["a", "b", "c", "d", "e"]]}, r"shape \(batch, \d\); received a row of 5"),
        ({"place": [[1.0, 2.0, 3.0]]}, r"numbers of shape \(batch, 2\); received the shape"),
        ({"place": [["a", "b"]]}, "'place': expected numbers"),
        ({"age": [[1.0]]}, "'age': expected numbers"),
    ],
)
def test_shapes_of_features_are_checked(features_export, change, message):
    inputs = {
        "age": [1.0],
        "user": ["ann"],
        "history": [[]],
        "device": [10],
        "hour": [0.0],
        "item": [3],
        "tags": [["x"]],
        "place": [[0.0, 1.0]],
    }
    assert features_export[1].score(inputs).shape == (1,)
    with pytest.raises(ValueError, match=message):
        features_export[1].score({**inputs, **change})


def test_loading_what_is_not_there(tmp_path, mf_version):
    with pytest.raises(ValueError, match="is not a directory"):
        load(tmp_path / "missing")
    copy = shutil.copytree(mf_version[0], tmp_path / "1")
    (copy / "variables" / "variables.index").unlink()
    with pytest.raises(ValueError, match="damaged: variables/variables.index is missing. Restore"):
        load(copy)
    checksums.write(copy)
    with pytest.raises(ValueError, match="is not a complete SavedModel"):
        load(copy)
    (copy / "saved_model.pb").write_bytes(b"\x00nonsense")
    checksums.write(copy)
    with pytest.raises(ValueError, match="is not a complete SavedModel"):
        load(copy)

"""What an export is made from: computed once, and read in the order that the documents tell."""

import re
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasrec.serving
from kerasrec.serving.parts import Parts
from kerasrec.serving.spec import ExportSpec, make_spec

ROOT = Path(kerasrec.serving.__file__).parent
DOCUMENT = ROOT.parents[1] / "docs" / "architecture.md"


@pytest.fixture
def visited():
    """Files that a model, its parts or its spec are handed to, as often as this happens."""
    files = []

    def follow(frame, event, argument):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(ROOT)):
            return
        if frame.f_back.f_code.co_filename == code.co_filename:
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        # What an object of ours does by itself is no way through the files.
        handed = [frame.f_locals[name] for name in names if name != "self"]
        if any(isinstance(value, keras.Model | Parts | ExportSpec) for value in handed):
            file = str(Path(code.co_filename).relative_to(ROOT))
            if not files or files[-1] != file:
                files.append(file)

    yield files, follow
    sys.setprofile(None)


def test_a_model_is_handed_to_each_file_at_most_twice(tmp_path, make_case, visited):
    files, follow = visited
    case = make_case("wide")
    case.export(tmp_path / "first")  # imports, which run files too
    sys.setprofile(follow)
    case.export(tmp_path / "second", quantize="float16")
    sys.setprofile(None)
    assert max(Counter(files).values()) <= 2, files
    text = DOCUMENT.read_text("utf-8").split("## The way of a model")[1].split("\n## ")[0]
    assert list(dict.fromkeys(files)) == re.findall(r"^[0-9]+\. `(.*)`:", text, re.M)


def test_a_spec_holds_what_follows_from_a_model(make_case):
    case = make_case("features")
    spec = make_spec(case.model, case.vocabularies, **case.tables, k=2, filter_by="genres")
    assert spec.exact.whole is spec.rounded.whole is case.model
    assert spec.exact.retriever is spec.item_vectors is None
    assert spec.item_ids.tolist() == [2, 3, 5, 7, 8]
    assert spec.categories.shape == (5, 2) and spec.num_categories == 6
    assert spec.known_by == ("age", "user", "history", "tags", "place") and not spec.compares_items
    # A sequence has the type of the ids that it holds.
    assert spec.dtypes == {
        **dict.fromkeys(("age", "place", "vector", "hour"), "float32"),
        **dict.fromkeys(("user", "tags", "genres"), "string"),
        **dict.fromkeys(("history", "item", "device"), "int64"),
    }
    mf = make_case("wide")
    spec = make_spec(mf.model, mf.vocabularies, k=2, quantize="int8")
    assert spec.exact.retriever is mf.model and spec.compares_items
    np.testing.assert_array_equal(
        spec.item_vectors, mf.model.item_embedding({"item": np.arange(2, 9)})
    )
    weights = zip(spec.rounded.whole.get_weights(), mf.model.get_weights(), strict=True)
    assert sum((rounded != exact).any() for rounded, exact in weights) == 2  # both wide tables
    with pytest.raises(AttributeError):
        spec.model = None

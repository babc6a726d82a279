"""The values that the page of a table offers."""

import dataclasses
import json

import numpy as np

from kerasrec.data import Vocabulary
from kerasrec.serving.artifact import frequent_values
from kerasrec.serving.spec import make_spec


def test_the_most_frequent_values_come_first(tmp_path, make_table):
    case = make_table()
    texts = [f"tag {n}" for n in range(99)] + ["x" * 300]
    tags = Vocabulary(np.array(texts, object), np.arange(100), "tags")
    spec = make_spec(case.model, case.vocabularies)
    spec = dataclasses.replace(spec, vocabularies={**spec.vocabularies, "tags": tags})
    frequent_values.write(spec, tmp_path)
    found = frequent_values.read(tmp_path)
    # Integers as text: a browser would round them. Buckets are numbers, which nobody chooses.
    assert {name: values for name, values in found.items() if name != "tags"} == {
        "country": ["né-用户-🙂", "fr", "de"],
        "device": [str(2**31 + 5), "3", str(2**40)],
    }
    assert found["tags"] == [f"tag {n}" for n in range(98, 49, -1)]
    assert json.loads((tmp_path / frequent_values.FILE_NAME).read_text("utf-8")) == found


def test_a_version_with_items_has_no_such_file(mf_version):
    assert frequent_values.read(mf_version[0]) == {}
    assert not (mf_version[0] / frequent_values.FILE_NAME).exists()

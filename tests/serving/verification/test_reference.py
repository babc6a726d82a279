"""Recorded requests: what they cover, and that a brute-force ranking agrees."""

import json

import numpy as np
import pytest

from kerasrec.data import Vocabulary
from kerasrec.serving.artifact import recorded_requests
from kerasrec.serving.spec import make_spec
from kerasrec.serving.verification import reference


def recorded(case, k):
    names = ["serving_default", "recommend"]
    spec = make_spec(case.model, case.vocabularies, **case.tables, k=k, signatures=names)
    return reference.record(spec)


def test_rows_cover_known_unknown_and_unicode_ids(make_case):
    text = recorded(make_case("mf", "string", "int64"), 3)
    kinds = {"known", "unknown", "known unicode", "unknown unicode", "empty"}
    assert kinds | {"unknown, very long"} == set(text["rows"])
    users = text["requests"][0]["inputs"]["user"]
    assert users[text["rows"].index("known unicode")] == "né-用户-🙂"
    numbers = recorded(make_case("mf", "int64", "int64"), 3)
    assert 2**63 - 1 in numbers["requests"][0]["inputs"]["user"]
    for record in (text, numbers):
        score, same, *recommend = record["requests"]
        assert [score["signature"], same["signature"]] == ["serving_default", "score"]
        assert [len(request["inputs"]["exclude"][0]) for request in recommend] == [0, 5, 7]
        assert json.loads(json.dumps(record)) == record


def test_an_id_that_is_taken_is_not_used_as_unknown():
    taken = ["né-用户-🙂", "nobody", "né-用户-🙂?"]
    kinds, ids = reference._nine(Vocabulary.fit(taken))
    known = [kind.startswith("known") for kind in kinds]
    assert [raw in taken for raw in ids] == known
    kinds, ids = reference._nine(Vocabulary.fit([2**63 - 1, 2**63 - 2]))
    assert [raw >= 2**63 - 2 for raw in ids.tolist()] == [kind[:5] == "known" for kind in kinds]


def test_answers_by_hand(make_case):
    """Popularity of the model: 9, 4, 3 rows for the ids 4, 7, 8; 2 for 2 and 3; 1 for 5."""
    case = make_case("popularity", "string", "string")
    items = case.vocabularies["item"].ids
    everything, some, none = recorded(case, 4)["requests"][2:]
    known, unknown = 0, 2
    best = [items[i - 2] for i in (4, 7, 8, 2, 3, 5, 6)]
    assert everything["ranking"]["item_id"][known] == best
    assert everything["answers"]["item_id"][known] == best[:4]
    assert everything["answers"]["score"][known] == [9, 4, 3, 2]
    assert everything["answers"]["fallback"] == [0, 0, 1, 0, 0, 1, 0, 1, 1]
    # Training counts 1, 5, 3, 3, 4, 1, 2: the fallback.
    assert everything["answers"]["item_id"][unknown] == [items[i] for i in (1, 4, 2, 3)]
    assert everything["answers"]["score"][unknown] == [5, 4, 3, 3]
    # The row's best item and the first item are excluded.
    assert some["answers"]["item_id"][known] == [items[i - 2] for i in (7, 8, 3, 5)]
    assert none["answers"]["count"] == [0, 1, 0, 1, 0, 1, 0, 1, 0]


def test_features_of_all_kinds_are_drawn(make_case):
    case = make_case("features")
    inputs = recorded(case, 2)["requests"][0]["inputs"]
    assert {name: np.shape(value) for name, value in inputs.items()} == {
        **dict.fromkeys(("age", "user", "device", "hour", "item"), (9,)),
        **dict.fromkeys(("tags", "place"), (9, 2)),
        "history": (9, 3),
    }
    assert inputs["history"][0] == [-1, -1, -1] and len(set(map(tuple, inputs["history"]))) == 8
    nothing = {name: inputs[name][7] for name in ("user", "history", "tags")}
    assert nothing == {"user": "", "history": [-1] * 3, "tags": ["", ""]}
    assert np.isnan([inputs["age"][7], *inputs["place"][7]]).all()


def test_reading_what_is_no_record(tmp_path):
    path = tmp_path / recorded_requests.FILE_NAME
    with pytest.raises(ValueError, match="expected recorded requests in .*requests.json"):
        recorded_requests.read(tmp_path)
    path.parent.mkdir()
    for text, message in (
        ("{", "expected recorded requests"),
        ("[]", "received version None"),
        ('{"version": 9}', "reads version 2 .*received version 9"),
        ('{"version": 2, "options": 3}', r"lacks \['requests', 'rows'\]"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            recorded_requests.read(tmp_path)

"""Verify: it passes what is right, and only that."""

import copy
import json
import shutil

import numpy as np
import pytest

from kerasrec.serving import VerificationError, verify
from kerasrec.serving.artifact import checksums, recorded_requests
from kerasrec.serving.verification import _compare, _verify

RAN = {"tensorflow": "2", "operations": 9, "graph_bytes": 9, "warmed": 0, "imported": []}


def as_recorded(record):
    """Outputs of a server that answers exactly what was recorded."""
    rows = list(range(len(record["rows"])))
    outputs = [
        [
            {
                "batch": 64 if len(places) > 1 else 1,
                "rows": places,
                "answers": {
                    key: [value[row] for row in places] for key, value in request["answers"].items()
                },
            }
            for places in ([[row] for row in rows] + [rows])
        ]
        for request in record["requests"]
    ]
    names = {request["signature"] for request in record["requests"]}
    return {"outputs": outputs, "milliseconds": {name: [9.0, 1.0] for name in names}, **RAN}


@pytest.fixture
def replay(mf_version, monkeypatch):
    """`replay(change)`: verifies with a served side that `change(outputs)` has edited."""
    record = recorded_requests.read(mf_version[0])

    def replay(change):
        answer = copy.deepcopy(as_recorded(record))
        change(answer["outputs"])
        monkeypatch.setattr(_verify, "_run_fresh", lambda path, recorded: answer)
        return verify(mf_version[0])

    return replay


def test_a_fresh_process_without_kerasrec_agrees(mf_version):
    report = verify(mf_version[0].parent)
    assert report.path == mf_version[0] and not report.problems
    names = ["serving_default", "score", "recommend", "similar_items", "user_embedding"]
    names += ["item_embedding", "predict_examples", "regress"]
    assert [check.signature for check in report.signatures] == names
    assert [check.requests for check in report.signatures] == [1, 1, 3, 1, 1, 1, 1, 1]
    assert all(0 < check.warm_milliseconds < check.cold_milliseconds for check in report.signatures)
    assert report.graph_bytes == (mf_version[0] / "saved_model.pb").stat().st_size
    assert all(check.max_difference <= 1e-5 for check in report.signatures)
    assert all(check.neighbour_difference <= 1e-5 for check in report.signatures)
    wide = [line for line in str(report).splitlines() if len(line) > 80]
    assert all(str(report.path) in line for line in wide)  # a path stays whole
    text = " ".join(str(report).split())
    assert "kerasrec and keras not imported" in text
    assert "unknown unicode" in text and "known unicode" in report.rows
    assert "verified: every difference is within 1e-05" in text


def test_answers_computed_anew_agree_for_all_kinds_of_features(features_export):
    case, served = features_export
    report = verify(
        served.path,
        model=case.model,
        vocabularies=case.vocabularies,
        **case.tables,
    )
    assert not report.problems


def test_another_model_does_not_pass(mf_version, monkeypatch):
    path, case = mf_version
    answer = as_recorded(recorded_requests.read(path))
    monkeypatch.setattr(_verify, "_run_fresh", lambda path, recorded: answer)
    verify(path, model=case.model, vocabularies=case.vocabularies)
    other = type(case.model).from_config(case.model.get_config())
    other.set_weights([weight + 0.1 for weight in case.model.get_weights()])
    with pytest.raises(VerificationError, match="problems") as caught:
        verify(path, model=other, vocabularies=case.vocabularies)
    assert "serving_default, request 0, batch 64: score" in str(caught.value)
    assert caught.value.report.signatures[0].max_difference > 1e-2


def test_what_is_recorded_passes(replay):
    assert replay(lambda outputs: None).problems == ()


def set_score(outputs, amount):
    outputs[0][-1]["answers"]["score"][3] += amount


def swap(outputs, row, first, second):
    items = outputs[2][-1]["answers"]["item_id"][row]
    items[first], items[second] = items[second], items[first]


def together(outputs, request):
    return outputs[request][-1]["answers"]


def alone(outputs, request, row):
    return outputs[request][row]["answers"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda o: set_score(o, 1e-3), "serving_default, request 0, batch 64: score"),
        (lambda o: set_score(o, float("nan")), "score nan at .3,., expected"),
        (lambda o: alone(o, 0, 2)["score"].__setitem__(0, 9.0), "batch 1: score 9.0"),
        (lambda o: together(o, 2)["score"].pop(), r"score of shape \(8, 7\), expected \(9, 7\)"),
        (lambda o: swap(o, 0, 0, 1), "batch 64, row 0: item .* in slot 0, expected"),
        (lambda o: together(o, 2)["item_id"][1].__setitem__(0, "?"), "row 1: item '.' in slot 0"),
        (
            lambda o: together(o, 2)["item_id"][1].__setitem__(0, together(o, 2)["item_id"][1][1]),
            "row 1: items",
        ),
        (lambda o: together(o, 2)["fallback"].__setitem__(0, True), "fallback .True"),
        (lambda o: alone(o, 3, 0)["count"].__setitem__(0, 7), "batch 1: count .7"),
        (lambda o: together(o, 4)["item_id"][0].__setitem__(0, "a b"), "row 0: items .'a b'"),
        (lambda o: together(o, 2).pop("count"), "outputs .*expected"),
        (lambda o: together(o, 6)["embedding"][0].__setitem__(1, 9.0), "embedding 9.0 at .0, 1."),
    ],
)
def test_every_kind_of_wrong_answer_is_found(replay, change, message):
    with pytest.raises(VerificationError, match=message):
        replay(change)


def test_a_difference_between_batches_is_found_where_both_are_near_the_answer(replay):
    def change(outputs):
        together(outputs, 0)["score"][0] += 0.9e-5
        alone(outputs, 0, 0)["score"][0] -= 0.9e-5

    with pytest.raises(VerificationError, match="batch 64 against rows alone: score"):
        replay(change)


def request(items, scores, *, k, complete, exclude=()):
    return {
        "inputs": {"exclude": [list(exclude)]},
        "answers": {"item_id": [items[:k]], "count": [k], "score": [scores[:k]]},
        "ranking": {"item_id": [items], "score": [scores], "complete": [complete]},
    }


@pytest.mark.parametrize(
    "answer, passes",
    [
        (["a", "b"], True),
        (["a", "c"], True),  # c ties with b
        (["c", "a"], False),
        (["a", "d"], False),
        (["a", "z"], False),  # below the recorded ranking, whose end does not tie
        (["b", "a"], False),
    ],
)
def test_only_ties_may_change_places(answer, passes):
    case = request(["a", "b", "c", "d"], [3.0, 2.0, 2.0 - 1e-6, 1.0], k=2, complete=False)
    received = {**case["answers"], "item_id": [answer]}
    found = _compare._differing(received, case["answers"], case, [0], "here")
    assert (found == []) == passes


def test_an_item_beyond_a_tie_that_outlasts_the_record_passes_unless_excluded():
    served = {"item_id": [["z"]], "count": [1], "score": [[1.0]]}
    for complete, exclude, passes in ((False, (), True), (True, (), False), (False, "z", False)):
        case = request(["a", "b"], [1.0, 1.0], k=1, complete=complete, exclude=exclude)
        found = _compare._differing(served, case["answers"], case, [0], "here")
        assert (found == []) == passes


def test_a_tampered_record_fails_in_the_real_process(tmp_path, mf_version):
    path = shutil.copytree(mf_version[0], tmp_path / "1")
    file = path / recorded_requests.FILE_NAME
    record = json.loads(file.read_text("utf-8"))
    record["requests"][0]["answers"]["score"][0] += 0.5
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="damaged: assets.extra/requests.json has changed"):
        verify(path)
    checksums.write(path)
    with pytest.raises(VerificationError, match="differs by"):
        verify(path)


def test_damage_is_told_as_such(tmp_path, mf_version):
    path = shutil.copytree(mf_version[0], tmp_path / "1")
    with open(path / "variables" / "variables.data-00000-of-00001", "r+b") as file:
        file.truncate(100)
    checksums.write(path)
    with pytest.raises(
        ValueError, match="does not load or run.*Read less bytes.*export the model again"
    ):
        verify(path)


def test_what_is_missing_is_told_before_any_process_starts(tmp_path, mf_version, monkeypatch):
    monkeypatch.setattr(_verify, "_run_fresh", lambda *_: pytest.fail("started"))
    with pytest.raises(ValueError, match="is not a directory"):
        verify(tmp_path / "missing")
    with pytest.raises(ValueError, match="expected numbered versions"):
        verify(tmp_path)
    path = shutil.copytree(mf_version[0], tmp_path / "1")
    (path / recorded_requests.FILE_NAME).write_text("{}")
    with pytest.raises(ValueError, match="received version None"):
        verify(path)
    schema = json.loads((path / "schema.json").read_text("utf-8"))
    (path / "schema.json").write_text(json.dumps({**schema, "version": 99}))
    with pytest.raises(ValueError, match="A newer version needs a newer kerasrec"):
        verify(path)
    (path / "schema.json").unlink()
    with pytest.raises(ValueError, match="no readable schema.json"):
        verify(path)


def test_arguments_must_fit_together(mf_version):
    path, case = mf_version
    with pytest.raises(ValueError, match="pass model= as well"):
        verify(path, vocabularies=case.vocabularies)
    with pytest.raises(ValueError, match="model= needs vocabularies="):
        verify(path, model=case.model)
    with pytest.raises(ValueError, match="must be a Keras model"):
        verify(path, model=np.zeros(3), vocabularies=case.vocabularies)


def test_a_record_of_another_form_is_told(mf_version, monkeypatch):
    answer = {"outputs": [], "milliseconds": {}, **RAN}
    monkeypatch.setattr(_verify, "_run_fresh", lambda path, recorded: answer)
    with pytest.raises(ValueError, match="not in the form that export writes"):
        verify(mf_version[0])

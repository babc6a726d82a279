"""Histories over REST: any width, rows of other lengths, padding anywhere."""

import pytest

from kerasrec.data import Vocabulary
from kerasrec.models import StackedLSTMClassifier
from kerasrec.schema import Categorical, IdSequence, NumericSequence, Schema
from kerasrec.serving import export

FILMS = [f"film {n}" for n in range(12)]


@pytest.fixture(scope="module")
def films(serving, tmp_path_factory):
    """A model of items and numbers, so that both have to move together."""
    schema = Schema(
        user=[
            Categorical("user", 4),
            IdSequence("history", of="item", max_length=4),
            NumericSequence("ratings", of="rating", max_length=4),
            NumericSequence("places", size=2, of="place", max_length=4),
        ],
        item=Categorical("item", len(FILMS) + 2),
    )
    model = StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(6,), stddev=2.0)
    vocabularies = {"user": Vocabulary.fit(["ann", "bob"]), "item": Vocabulary.fit(FILMS)}
    folder = tmp_path_factory.mktemp("histories") / "films"
    export(model, folder, vocabularies=vocabularies, k=3, signatures=["recommend"])
    with serving(folder) as client:
        yield client


def row(*events):
    """Events are (film, rating, place); None is padding."""
    none = float("nan")
    events = [("", none, [none, none]) if event is None else event for event in events]
    history, ratings, places = ([event[part] for event in events] for part in range(3))
    given = {"user": "?", "history": history, "ratings": ratings, "places": places}
    return {**given, "exclude": []}


def answers(films, *rows):
    status, found = films.post({"signature_name": "recommend", "instances": list(rows)})
    assert status == 200, found
    return [(p["item_id"], [round(s, 4) for s in p["score"]]) for p in found["predictions"]]


A, B, C = (FILMS[1], 1.0, [0.0, 0.0]), (FILMS[2], 0.0, [0.0, 2.0]), (FILMS[7], -1.0, [1.0, 0.0])


def test_padding_may_stand_anywhere_and_rows_may_differ_in_length(films):
    (wanted,) = answers(films, row(A, B, None, None))
    several = answers(
        films, row(None, None, A, B), row(A, None, B), row(A, B), row(None, A, None, None, B, None)
    )
    assert several == [wanted] * 4
    # Lists depend on the items, their numbers and their order.
    others = answers(films, row(A, C), row(B, A), row(B), row((FILMS[1], 5.0, [0.0, 0.0]), B))
    assert wanted not in others and len({str(other) for other in others}) == 4


def test_of_a_long_history_the_newest_count(films):
    long, short = answers(films, row(C, C, A, None, B, B, C, None), row(A, B, B, C))
    assert long == short


def test_no_history_is_the_popular_items(films):
    body = {"signature_name": "recommend", "instances": [row(), row(A), row(None, None)]}
    status, found = films.post(body)
    assert status == 200, found
    assert [p["fallback"] for p in found["predictions"]] == [True, False, True]


def test_columns_may_be_ragged_too(films):
    rows = [row(A, B), row(C)]
    inputs = {name: [one[name] for one in rows] for name in rows[0]}
    status, found = films.post({"signature_name": "recommend", "inputs": inputs})
    assert status == 200, found
    assert [list(ids) for ids in found["outputs"]["item_id"]] == [
        ids for ids, _ in answers(films, *rows)
    ]

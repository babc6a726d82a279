import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasrec import evaluation
from kerasrec.data import Vocabulary
from kerasrec.models import GraphFilter
from kerasrec.models.adapted.spectral import chebyshev_coefficients
from kerasrec.retrieval import recommend
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

CASE = ModelCase(
    GraphFilter,
    num_params=(11 + 2) + (17 + 2) * (1 + 2 * 3) + (11 + 2 + 1),  # degrees, vectors, starts
    kwargs={"rank": 3, "order": 3},
    trains=False,
)
HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = dataclasses.replace(
    CASE, schema=dataclasses.replace(tiny_schema(), context=(HISTORY,))
)


@pytest.mark.parametrize("case", [CASE, OF_HISTORIES], ids=["users", "histories"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(check, case):
    check(case)


def drawn(seed):
    dense = np.random.default_rng(seed).random((13, 19)) < 0.3
    dense[:, :2] = dense[:2] = False
    dense[5, 7] = True
    return dense


def scores(dense, **options):
    model = GraphFilter(tiny_schema(), **options)
    user, item = np.nonzero(dense)
    model.adapt({"user_id": user, "item_id": item})
    every = np.broadcast_to(np.arange(19), (13, 19))
    return np.asarray(model({"user_id": np.arange(13), "item_id": every}))


def spectrum(dense):
    """Eigenvalues and eigenvectors of P, the largest first, and the degrees of the items."""
    users, items = dense.sum(axis=1, keepdims=True), dense.sum(axis=0)
    normal = dense / np.sqrt(np.maximum(users, 1) * np.maximum(items, 1))
    values, vectors = np.linalg.eigh(normal.T @ normal)
    return values[::-1], vectors[:, ::-1], items


def test_a_linear_filter_by_hand():
    dense = np.zeros((13, 19), bool)
    dense[2, [2, 3]] = dense[3, 2] = dense[4, 4] = True
    # From item 2, of 2 users, over user 2, of 2 items, to item 3: 1 / (2 sqrt(2 * 1)).
    found = scores(dense, filter="linear", rank=0)
    assert found[3, 3] == pytest.approx(1 / (2 * np.sqrt(2)))
    assert found[3, 2] == pytest.approx(1 / 4 + 1 / 2)
    assert found[3, 4] == 0


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["linear", "chebyshev"]))
def test_filters_the_spectrum(seed, kind):
    dense = drawn(seed)
    values, vectors, _ = spectrum(dense)
    response = values
    if kind == "chebyshev":
        response = np.polynomial.chebyshev.chebval(2 * values - 1, chebyshev_coefficients(5, 2.0))
    expected = dense @ (vectors * response) @ vectors.T
    found = scores(dense, filter=kind, order=5, flatness=2.0, rank=0)
    known = dense.any(axis=0)  # an item without rows has no place in the graph
    np.testing.assert_allclose(found[:, known], expected[:, known], atol=1e-4)


@pytest.mark.parametrize("exponent", [0.0, 0.5])
def test_an_ideal_filter_keeps_the_largest_eigenvalues(exponent):
    dense = drawn(0)
    values, vectors, degrees = spectrum(dense)
    assert values[3] - values[4] > 1e-3
    powers = np.where(degrees > 0, np.maximum(degrees, 1.0) ** exponent, 0)
    inverse = np.divide(1, powers, out=np.zeros(19), where=powers > 0)
    expected = 0.5 * (dense * inverse) @ vectors[:, :4] @ vectors[:, :4].T * powers
    found = scores(dense, filter="none", rank=4, rank_weight=0.5, exponent=exponent)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_all_vectors_of_a_small_matrix():
    dense = drawn(1)
    found = scores(dense, filter="none", rank=50, rank_weight=1.0, exponent=0.5)
    np.testing.assert_allclose(found[dense], 1, atol=1e-4)  # the row itself comes back


def test_the_response_goes_through_its_nodes():
    def response(share, **options):
        return np.polynomial.chebyshev.chebval(2 * share - 1, chebyshev_coefficients(**options))

    assert response(1.0, order=8, flatness=4) == pytest.approx(1)
    assert response(0.5, order=8, flatness=4) == pytest.approx(0.5)
    assert response(0.0, order=8, flatness=4) == pytest.approx(0)
    assert chebyshev_coefficients(1, 1.0) == pytest.approx([0.5, 0.5])  # the linear filter


def test_histories_serve_users_who_were_not_there():
    model = GraphFilter(OF_HISTORIES.schema, filter="linear", rank=0)
    model.adapt({"user_id": np.array([2, 2, 3, 4]), "item_id": np.array([2, 3, 2, 4])})
    history = np.array([[0, 2, 2, 1], [0, 0, 0, 0]])
    inputs = {"user_id": np.ones(2, int), "item_id": np.array([3, 3]), "history": history}
    assert np.asarray(model(inputs)).tolist() == pytest.approx([1 / (2 * np.sqrt(2)), 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": "high"}, "filter must be one of 'chebyshev', 'linear', 'none'"),
        ({"order": 0}, "order must be an integer of at least 1"),
        ({"flatness": 0}, "flatness must be a finite number above 0"),
        ({"rank": -1}, "rank must be an integer of at least 0"),
        ({"rank": 0, "filter": "none"}, "rank must be an integer of at least 1"),
        ({"rank_weight": -1.0}, "rank_weight must be a finite number of at least 0"),
        ({"exponent": float("nan")}, "exponent must be a finite number of at least 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=f"GraphFilter: {message}"):
        GraphFilter(tiny_schema(), **options)


def test_rankings_and_lists_are_those_of_the_scores():
    dense = drawn(2)
    model = GraphFilter(tiny_schema(), rank=4, order=3)
    user, item = np.nonzero(dense)
    rows = {"user_id": user, "item_id": item}
    model.adapt(rows)
    asked = {"user_id": np.arange(2, 13), "item_id": np.arange(2, 13)}
    every = np.broadcast_to(np.arange(2, 19), (11, 17))
    scores = np.asarray(model({"user_id": asked["user_id"], "item_id": every}))
    ranked = evaluation.rank(model, asked, seen=None, k=17)
    mine = scores[np.arange(11), np.arange(11)][:, None]
    above, ties = (scores > mine).sum(axis=1), (scores == mine).sum(axis=1)
    assert ranked["mrr"] == pytest.approx(
        np.mean(
            [
                np.mean(1 / (1 + more + np.arange(same)))
                for more, same in zip(above, ties, strict=True)
            ]
        ),
        abs=1e-6,
    )
    ids = {"user_id": Vocabulary.fit(range(11)), "item_id": Vocabulary.fit(range(17))}
    lists = recommend(model, ids, [3, 8], 5, seen=rows)
    left = np.where(dense[[5, 10], 2:], -np.inf, scores[[3, 8]])
    np.testing.assert_allclose(lists.score, -np.sort(-left, axis=1)[:, :5], atol=1e-6)

import numpy as np
import pytest

from kerasrec.models import EASE, MatrixFactorization
from kerasrec.testing import tiny_schema
from kerasrec.training import AlternatingLeastSquares

RNG = np.random.default_rng(0)
LIKES = RNG.random((13, 19)) < 0.3
LIKES[:, :2] = LIKES[:2] = LIKES[12] = False
LIKES[5, 7] = True
ROWS = dict(zip(("user_id", "item_id"), np.nonzero(LIKES), strict=True))


def solved(epochs=4, rows=ROWS, **options):
    model = MatrixFactorization(tiny_schema(), embedding_dim=3, use_bias=False)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(scale=0.1, size=weight.shape))
    solver = AlternatingLeastSquares(model, **options)
    return solver, solver.fit(rows, epochs=epochs)["loss"]


def vectors(solver):
    model = solver.model
    return np.array(model.user_vectors.embeddings), np.array(model.item_vectors.embeddings)


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0])
def test_the_loss_is_the_objective_and_never_rises(exponent):
    solver, losses = solved(8, l2=0.05, unobserved_weight=0.2, exponent=exponent)
    assert (np.diff(losses) <= 1e-5).all() and losses[0] > losses[-1]
    p, q = vectors(solver)
    scores = p @ q.T
    expected = np.sum((1 - scores)[LIKES] ** 2) + 0.2 * np.sum(scores**2)
    for likes, side, others in ((LIKES, p, 17), (LIKES.T, q, 11)):
        counts = likes.sum(axis=1) + 0.2 * others
        expected += 0.05 * np.sum(counts**exponent * np.sum(side**2, axis=1))
    assert losses[-1] == pytest.approx(expected, rel=1e-4)


def test_users_solve_their_equations():
    solver, _ = solved(l2=0.05, unobserved_weight=0.2)
    p, q = vectors(solver)
    for user in range(2, 13):
        mine = q[LIKES[user]]
        penalty = 0.05 * (len(mine) + 0.2 * 17)
        left = mine.T @ mine + 0.2 * q.T @ q + penalty * np.eye(3)
        np.testing.assert_allclose(p[user], np.linalg.solve(left, mine.sum(axis=0)), atol=1e-4)
    assert not p[:2].any() and not q[:2].any() and not p[12].any()


def test_new_users_are_folded_in():
    solver, _ = solved()
    p, q = vectors(solver)
    longest = LIKES.sum(axis=1).max()
    histories = np.zeros((13, longest + 2), int)
    for user, likes in enumerate(LIKES):
        own = np.flatnonzero(likes)
        histories[user, 1 : 1 + len(own)] = own
        histories[user, -1] = own[0] if len(own) else 1  # again, or unknown
    np.testing.assert_allclose(solver.fold_in(histories), p, atol=1e-5)


def test_a_second_fit_continues():
    solver, first = solved(3)
    again = solver.fit(ROWS, epochs=2)["loss"]
    assert again[0] <= first[-1]
    _, whole = solved(5)
    np.testing.assert_allclose(again, whole[3:], rtol=1e-4)


def test_withheld_items_come_first():
    items, users = np.arange(17), np.arange(11)
    likes = items[None, :] % 3 == users[:, None] % 3
    withheld = np.array([np.flatnonzero(row)[u // 3] for u, row in enumerate(likes)])
    train = likes.copy()
    train[users, withheld] = False
    user, item = np.nonzero(train)
    solver, _ = solved(20, {"user_id": user + 2, "item_id": item + 2})
    p, q = vectors(solver)
    scores = np.where(train, -np.inf, p[2:] @ q[2:].T)
    assert (scores.argmax(axis=1) == withheld).all()


def test_negatives_and_repeated_rows_do_not_count():
    more = {
        "user_id": np.append(ROWS["user_id"], [5, 6]),
        "item_id": np.append(ROWS["item_id"], [7, 8]),
        "label": np.append(np.ones(len(ROWS["user_id"])), [1, 0]),
    }
    for ours, theirs in zip(vectors(solved(rows=more)[0]), vectors(solved()[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_only_plain_matrix_factorization():
    for model in (EASE(tiny_schema()), MatrixFactorization(tiny_schema())):
        with pytest.raises(ValueError, match="expected a MatrixFactorization of user and item"):
            AlternatingLeastSquares(model)
    model = MatrixFactorization(tiny_schema(), use_bias=False, temperature=0.1)
    with pytest.raises(ValueError, match=r"temperature=0\.1"):
        AlternatingLeastSquares(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": 0.0}, "l2 must be a finite number above 0"),
        ({"unobserved_weight": -1.0}, "unobserved_weight must be a finite number of at least 0"),
        ({"exponent": -1.0}, "exponent must be a finite number of at least 0"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"rows": {"user_id": np.array([1]), "item_id": np.array([2])}}, "received none"),
        ({"rows": {"user_id": np.array([2])}}, "missing column 'item_id'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        solved(**options)


@pytest.mark.parametrize("histories", [np.zeros(3, int), np.array([[0.5]]), [[19]], [[-1]]])
def test_bad_histories(histories):
    solver, _ = solved(1)
    with pytest.raises(ValueError, match=r"AlternatingLeastSquares\.fold_in: expected"):
        solver.fold_in(histories)

"""Folds of examples for cross-validation."""

import heapq
from collections.abc import Iterator
from typing import Literal

import numpy as np

from kerasrec._checks import check_choice, check_integer, check_share
from kerasrec.data.examples.examples import Examples
from kerasrec.data.examples.splitting import ExampleSplit, split_examples
from kerasrec.data.tables.arrow import distinct_ids

OWNER = "example_folds"


def example_folds(
    examples: Examples,
    by: Literal["random", "group", "time"] = "random",
    *,
    folds: int = 5,
    valid: float = 0.2,
    seed: int = 0,
) -> Iterator[ExampleSplit]:
    """Split for cross-validation: the test parts of the folds share no row.

    Args:
        examples: all rows.
        by: "random" draws the test rows, of labels with two values the same share of each; "group"
            keeps rows of equal `group` in one fold, with about equally many rows in each; "time"
            cuts the rows in `folds + 1` blocks along `time`, and tests on each but the first after
            training on those before it.
        folds: number of folds.
        valid: share of the rows besides the test rows that are validation rows, split off in the
            same way; 0 for none.
        seed: seed of the draws.

    Raises:
        ValueError: if there are too few rows, groups or times, no column for this way, or an
            argument is out of range.

    Example:

    >>> rows = Examples.from_table({"x": range(20), "label": [0, 1] * 10})
    >>> [(len(s.train), len(s.valid), s.test.labels.mean().item())
    ...  for s in example_folds(rows, folds=2)]
    [(8, 2, 0.5), (8, 2, 0.5)]
    """
    check_choice(OWNER, "by", by, ("random", "group", "time"))
    check_integer(OWNER, "folds", folds, 1 if by == "time" else 2)
    check_share(OWNER, "valid", valid, one=False)
    check_integer(OWNER, "seed", seed, 0)
    if by != "random" and getattr(examples, by) is None:
        raise ValueError(
            f"{OWNER}: by={by!r} needs a column for it; received examples without one. Name it "
            f"with {by}= where the rows are read."
        )
    rng = np.random.default_rng(seed)
    if by == "random":
        fold = _stratified(examples.labels, folds, rng)
    elif by == "group":
        fold = _of_groups(distinct_ids(examples.table[examples.group])[1], folds, rng)
    else:
        fold = _along(np.asarray(examples.times), folds)
    if len(np.unique(fold)) < folds + (by == "time"):
        what = {"random": "rows", "group": "groups", "time": "times"}[by]
        raise ValueError(
            f"{OWNER}: {folds} folds by {by} need more different {what} than the {len(fold)} rows "
            "have. Use fewer folds."
        )
    return (_split(examples, fold, at, by, valid, seed) for at in range(folds))


def _split(
    examples: Examples, fold: np.ndarray, at: int, by: Literal["random", "group", "time"],
    valid: float, seed: int,
) -> ExampleSplit:  # fmt: skip
    """Return one fold, with validation rows split off the rest."""
    rest = examples.take(fold <= at if by == "time" else fold != at)
    test = examples.take(fold == at + (by == "time"))
    method = f"fold {at + 1} of example_folds({by!r}, valid={valid}, seed={seed})"
    if not valid:
        return ExampleSplit(rest, None, test, method)
    parts = split_examples(rest, by, valid=valid, test=0.0, seed=seed)
    return ExampleSplit(parts.train, parts.valid, test, method)


def _stratified(labels: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each row, with the same share of two labels in each."""
    values, kind = np.unique(labels, return_inverse=True)
    drawn = rng.permutation(len(labels))
    if len(values) == 2:
        drawn = drawn[np.argsort(kind[drawn], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    fold[drawn] = np.arange(len(labels)) % folds
    return fold


def _of_groups(groups: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each row: large groups first, each to the fold with the fewest rows."""
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold = np.empty(len(sizes), np.int64)
    filled = [(0, at) for at in range(folds)]
    for group in order.tolist():
        rows, at = heapq.heappop(filled)
        fold[group] = at
        heapq.heappush(filled, (rows + int(sizes[group]), at))
    return fold[groups]


def _along(times: np.ndarray, folds: int) -> np.ndarray:
    """Return the block of each row along time, equal times in one block."""
    ordered = np.sort(times)
    starts = ordered[np.arange(1, folds + 1) * len(ordered) // (folds + 1)]
    return np.searchsorted(starts, times, side="right")

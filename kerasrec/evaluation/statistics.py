"""Uncertainty of metrics: bootstrap intervals, paired comparison, spread over seeds.

Resampling is by user, so a user's queries stay together in every resample. Values are passed as a
dict of arrays with one value per query, such as `RankingResult.values`, and users as
`RankingResult.users`.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from kerasrec._checks import check_integer, check_share

PerQuery = Mapping[str, np.ndarray]
Name = TypeVar("Name", bound=Hashable)

# User weights computed at once, at most 64 MiB of (draws, users) float64, for at most _MOST_DRAWS
# draws, so that the product with the values is a matrix product.
_WEIGHTS = 1 << 23
_MOST_DRAWS = 128


@dataclasses.dataclass(frozen=True)
class Interval:
    """Metric of all queries or rows, and the ends of its interval.

    Args:
        mean: over all queries, or the metric of all rows.
        low: lower end.
        high: upper end.
    """

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Comparison of two models on one metric and the same queries or rows.

    Args:
        first: mean of the first model.
        second: mean of the second.
        difference: first - second, with its interval.
        p: two-sided p of the paired test.
        p_holm: p after Holm's correction over the metrics compared together.
    """

    first: float
    second: float
    difference: Interval
    p: float
    p_holm: float


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and spread of a metric over several seeds or folds.

    Args:
        mean: over the runs.
        std: standard deviation of one run, `ddof=1`; NaN for a single run.
        low: lowest value.
        high: highest value.
        runs: number of runs.
    """

    mean: float
    std: float
    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f} ({self.runs})"


def bootstrap_intervals(
    values: PerQuery,
    users: np.ndarray | None = None,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Bootstrap percentile intervals of the mean over queries, resampling users.

    The interval contains a share `level` of the resampled means (Efron, 1979, "Bootstrap Methods:
    Another Look at the Jackknife"). It covers the choice of users, but not the training seed, for
    which see `spread`. All metrics share the resamples.

    Args:
        values: `(queries,)` arrays by metric.
        users: `(queries,)` user of each query; None if every query has another user.
        level: share of the resampled means inside the interval.
        draws: number of resamples.
        seed: seed of the resamples.

    Returns:
        An `Interval` by metric.

    Raises:
        ValueError: if there is no metric or query, lengths differ, a value is not finite, `level`
            is not between 0 and 1, or `draws` is not positive.

    Example:

    >>> interval = bootstrap_intervals({"hr@10": np.array([1, 0, 0, 1])})["hr@10"]
    >>> interval.mean, interval.low, interval.high
    (0.5, 0.0, 1.0)
    """
    check_share("bootstrap_intervals", "level", level, zero=False, one=False, numpy=True)
    check_integer("bootstrap_intervals", "draws", draws, 1, numpy=True)
    sums, counts, means = _per_user(values, users, "bootstrap_intervals")
    totals = np.column_stack([sums, counts])
    found = np.concatenate([weights @ totals for weights in _resamples(len(sums), draws, seed)])
    tail = (1 - level) / 2
    low, high = np.quantile(found[:, :-1] / found[:, -1:], [tail, 1 - tail], axis=0)
    return {
        name: Interval(float(means[at]), float(low[at]), float(high[at]))
        for at, name in enumerate(values)
    }


def paired_comparison(
    first: PerQuery,
    second: PerQuery,
    users: np.ndarray | None = None,
    *,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Test whether two models differ on the same queries, and by how much.

    If the models did not differ, a user's difference would be equally likely with the other sign.
    The test flips the signs of the users' summed differences at random. It counts how often their
    total is at least as far from zero as observed (Fisher's randomisation test; Smucker et al.,
    2007, "A Comparison of Statistical Significance Tests for Information Retrieval Evaluation"):

        p = (1 + draws whose |total| is at least the observed one) / (1 + draws)

    If there are at most `draws` sign patterns (2^users), all of them are counted and p is exact.
    `p_holm` is corrected over these metrics. When several models are compared, pass the `p` of all
    of them to one `holm`.

    Args:
        first: `(queries,)` arrays by metric.
        second: the same metrics of the other model, query by query in the same order.
        users: see `bootstrap_intervals`.
        level: see `bootstrap_intervals`, for the interval of the difference (1000 resamples).
        draws: number of sign patterns, the same for all metrics.
        seed: seed of the resamples and the patterns.

    Returns:
        A `Comparison` by metric.

    Raises:
        ValueError: see `bootstrap_intervals`. Also if the metrics or lengths of the two differ.

    Example:

    >>> found = paired_comparison({"mrr": np.full(4, 0.5)}, {"mrr": np.full(4, 0.25)})["mrr"]
    >>> found.difference.mean, found.p  # 2 of the 16 patterns: all signs kept, all flipped
    (0.25, 0.125)
    """
    if list(first) != list(second):
        raise ValueError(
            f"paired_comparison: expected the same metrics of both models; received {list(first)} "
            f"and {list(second)}. Rank both with the same k."
        )
    check_integer("paired_comparison", "draws", draws, 1, numpy=True)
    for name in first:
        if len(first[name]) != len(second[name]):
            raise ValueError(
                f"paired_comparison: {name} has {len(first[name])} queries of the first model and "
                f"{len(second[name])} of the second. Rank the same test rows with both."
            )
    differences = {
        name: np.asarray(first[name], np.float64) - np.asarray(second[name], np.float64)
        for name in first
    }
    sums, _, _ = _per_user(differences, users, "paired_comparison")
    p = dict(zip(first, _sign_flips(sums, draws, seed).tolist(), strict=True))
    corrected = holm(p)
    intervals = bootstrap_intervals(differences, users, level=level, seed=seed)
    return {
        name: Comparison(
            float(np.mean(first[name])),
            float(np.mean(second[name])),
            intervals[name],
            p[name],
            corrected[name],
        )
        for name in first
    }


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """Correct p values by Holm's (1979) step-down method, to hold for all hypotheses together.

    The i-th smallest of n is multiplied by n - i + 1, and is at least as large as those before it.
    Reject hypotheses with a corrected p below alpha. The chance of any false rejection is then at
    most alpha, for any dependence between the hypotheses.

    Args:
        p: p by name. Names may be anything hashable, such as (model, metric).

    Returns:
        Corrected p by name, in the same order.

    Raises:
        ValueError: if a p is not from 0 to 1.

    Example:

    >>> holm({"ndcg": 0.25, "hr": 0.125, "mrr": 0.5})
    {'ndcg': 0.5, 'hr': 0.375, 'mrr': 0.5}
    """
    wrong = {name: value for name, value in p.items() if not 0 <= value <= 1}
    if wrong:
        raise ValueError(f"holm: expected p from 0 to 1; received {wrong}.")
    corrected: dict[Name, float] = {}
    largest = 0.0
    for done, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, (len(p) - done) * p[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p}


def spread(runs: Mapping[int, Mapping[str, object]]) -> dict[str, Spread]:
    """Compute mean and spread of every metric over runs that differ in their seed.

    Args:
        runs: metrics of a run by seed, such as those of `evaluate`. Floats of Python and numpy are
            used. Other entries (protocol, counts) are ignored.

    Returns:
        A `Spread` by metric.

    Raises:
        ValueError: if there are no runs, or one has other metrics than the first.

    Example:

    >>> runs = {0: {"hr@10": 0.5, "users": 9}, 1: {"hr@10": 0.75, "users": 9}}
    >>> print(spread(runs)["hr@10"])
    0.6250 ± 0.1768 (2)
    """
    metrics = {seed: float_values(row) for seed, row in runs.items()}
    names = list(next(iter(metrics.values()), {}))
    for seed, found in metrics.items():
        if set(found) != set(names):
            raise ValueError(
                f"spread: expected the metrics {names} of every run; the run of seed {seed!r} has "
                f"{list(found)}. Evaluate all runs in the same way."
            )
    if not names:
        raise ValueError(f"spread: expected metrics of at least one run; received {runs!r:.80}.")
    columns = {name: np.array([row[name] for row in metrics.values()]) for name in names}
    return {
        name: Spread(
            float(values.mean()),
            float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
            float(values.min()),
            float(values.max()),
            len(values),
        )
        for name, values in columns.items()
    }


def float_values(row: Mapping[str, object]) -> dict[str, float]:
    """Return the entries that are floats: Python's, numpy's of any width, and arrays of one float.

    >>> float_values({"loss": np.float32(0.5), "users": 3, "protocol": "full catalogue"})
    {'loss': 0.5}
    """
    arrays = {name: np.asarray(value) for name, value in row.items()}
    return {n: float(a) for n, a in arrays.items() if a.ndim == 0 and a.dtype.kind == "f"}


def _per_user(
    values: PerQuery, users: np.ndarray | None, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sums `(users, metrics)` and counts `(users,)` of queries, and means `(metrics,)`."""
    lengths = {name: len(column) for name, column in values.items()}
    if users is not None:
        lengths["users"] = len(users)
    if not values or len(set(lengths.values())) > 1 or not next(iter(lengths.values())):
        raise ValueError(
            f"{what}: expected arrays of one length, with one value per query; received lengths "
            f"{lengths}."
        )
    columns = np.column_stack([np.asarray(column, np.float64) for column in values.values()])
    if not np.isfinite(columns).all():
        bad = [name for name, column in values.items() if not np.isfinite(column).all()]
        raise ValueError(
            f"{what}: expected finite values; {bad} hold NaN or infinity. Leave the queries out "
            "for which a metric is not defined."
        )
    means = columns.mean(axis=0)
    if users is None:
        return columns, np.ones(len(columns)), means
    _, user = np.unique(np.asarray(users), return_inverse=True)
    counts = np.bincount(user)
    sums = np.column_stack([np.bincount(user, column) for column in columns.T])
    return sums, counts, means


def _blocks(users: int, draws: int) -> Iterator[int]:
    size = max(1, min(_MOST_DRAWS, _WEIGHTS // users))
    for start in range(0, draws, size):
        yield min(size, draws - start)


def _resamples(users: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each user is drawn, float64 `(some draws, users)`, for all draws."""
    rng = np.random.default_rng(seed)
    for count in _blocks(users, draws):
        drawn = rng.integers(0, users, (count, users))
        drawn += np.arange(count)[:, None] * users
        weights = np.bincount(drawn.ravel(), minlength=count * users)
        yield weights.reshape(count, users).astype(np.float64)


def _sign_flips(differences: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Compute p `(metrics,)` from differences `(users, metrics)`; see `paired_comparison`."""
    users = len(differences)
    total = differences.sum(axis=0)
    # Sums in another order may differ in the last bits, and count as equal.
    least = np.abs(total) - 1e-12 * np.abs(differences).sum(axis=0)
    # The total of a pattern is twice the sum over users with kept sign, minus the total.
    if users <= 24 and 2**users <= draws:
        kept = (np.arange(2**users)[:, None] >> np.arange(users)) & 1
        return (np.abs(2.0 * (kept @ differences) - total) >= least).mean(axis=0)
    rng = np.random.default_rng(seed)
    reached = np.zeros(len(total))
    for count in _blocks(users, draws):
        bits = np.frombuffer(rng.bytes(count * -(-users // 8)), np.uint8).reshape(count, -1)
        kept = np.unpackbits(bits, axis=1, count=users).astype(np.float64)
        reached += (np.abs(2 * (kept @ differences) - total) >= least).sum(axis=0)
    return (1 + reached) / (1 + draws)

"""How sure a difference is: intervals by bootstrap, tests by permutation, Holm's correction."""

from collections.abc import Mapping

import numpy as np

DRAWS_PER_BLOCK = 64


def bootstrap_intervals(
    values: np.ndarray, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap of the mean over users (Efron, 1979).

    Args:
        values: `(users, metrics)`.
        draws: resamples.
        level: share of the resampled means that the interval holds.
        seed: of the resamples.

    Returns:
        Lower and upper ends `(metrics,)`.

    Example:

    >>> low, high = bootstrap_intervals(np.ones((5, 1)))
    >>> low.tolist(), high.tolist()
    ([1.0], [1.0])
    """
    rng = np.random.default_rng(seed)
    users = len(values)
    means = []
    for start in range(0, draws, DRAWS_PER_BLOCK):
        count = min(DRAWS_PER_BLOCK, draws - start)
        weights = rng.multinomial(users, np.full(users, 1 / users), size=count)
        means.append(weights @ values / users)
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


def permutation_p(differences: np.ndarray, *, draws: int = 2000, seed: int = 0) -> np.ndarray:
    """Two-sided p of a paired test: signs of the users' differences are flipped at random.

        p = (1 + draws whose |mean| is at least the observed one) / (1 + draws)

    Args:
        differences: `(users, metrics)`, one model minus the other.
        draws: random sign patterns, the same for all metrics.
        seed: of the patterns.

    Returns:
        p `(metrics,)`; 1 where the two never differ.

    Example:

    >>> float(permutation_p(np.ones((20, 1)), draws=999)[0])
    0.001
    """
    rng = np.random.default_rng(seed)
    observed = np.abs(differences.sum(axis=0))
    exceeded = np.zeros(differences.shape[1])
    for start in range(0, draws, DRAWS_PER_BLOCK):
        count = min(DRAWS_PER_BLOCK, draws - start)
        signs = rng.integers(0, 2, (count, len(differences)), dtype=np.int8) * 2.0 - 1
        exceeded += (np.abs(signs @ differences) >= observed * (1 - 1e-12)).sum(axis=0)
    return (1 + exceeded) / (1 + draws)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's (1979) step-down correction: p that hold for all hypotheses together.

    Args:
        p: p by name.

    Returns:
        Corrected p by name, in the same order.

    Example:

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for done, name in enumerate(sorted(p, key=lambda name: p[name])):
        largest = max(largest, min(1.0, (len(p) - done) * p[name]))
        corrected[name] = round(largest, 12)
    return {name: corrected[name] for name in p}

"""Measurement in turns, and confidence intervals over the rounds."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def show(self, form: str = ".2f") -> str:
        """Return `mean (low to high)`."""
        return f"{self.mean:{form}} ({self.low:{form}} to {self.high:{form}})"


def order(sides: Sequence[str], number: int) -> list[str]:
    """Order the sides of a round. Every second round is reversed to cancel a drift."""
    return list(sides) if number % 2 == 0 else list(reversed(sides))


def mean(values: Sequence[float]) -> Interval:
    """Compute the mean and its t interval."""
    found = np.asarray(values, float)
    middle = float(found.mean())
    if len(found) < 2 or not np.isfinite(found).all():
        return Interval(middle, -math.inf, math.inf)
    from scipy.stats import t

    half = t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found))
    return Interval(middle, middle - float(half), middle + float(half))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Compute the geometric mean of the ratios within the rounds, by a t interval on the logs."""
    logs = mean(np.log(np.asarray(ours, float)) - np.log(np.asarray(theirs, float)))
    low, high = math.exp(logs.low), math.exp(logs.high) if logs.high < math.inf else math.inf
    return Interval(math.exp(logs.mean), low, high)

"""Scalers of numbers, fitted on training rows."""

import abc
import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class _Scaler(abc.ABC):
    """Linear scaler: `(x - origin) / unit`, of the two numbers that a scaler holds."""

    @abc.abstractmethod
    def _origin_and_unit(self) -> tuple[float, float]:
        """Return the value that becomes 0, and the distance from it to the one that becomes 1."""

    def transform(self, values: Any) -> np.ndarray:
        """Scale values to float32 of the same shape."""
        origin, unit = self._origin_and_unit()
        return np.asarray(((np.asarray(values, np.float64) - origin) / unit).astype(np.float32))

    def inverse(self, values: Any) -> np.ndarray:
        """Convert scaled values back to the original unit, float32 of the same shape."""
        origin, unit = self._origin_and_unit()
        return np.asarray((np.asarray(values, np.float64) * unit + origin).astype(np.float32))


@dataclasses.dataclass(frozen=True)
class MinMaxScaler(_Scaler):
    """Scaler from [low, high] to [0, 1]: `(x - low) / (high - low)`.

    Values outside the range seen in training map outside [0, 1].

    Args:
        low: least value of the training rows.
        high: greatest value of the training rows.

    Raises:
        ValueError: if the numbers are not finite, or low is not below high.

    Example:

    >>> scaler = MinMaxScaler.fit([1.0, 3.0, 5.0])
    >>> scaler.transform([1, 2, 5]).tolist(), scaler.inverse([0.25]).tolist()
    ([0.0, 0.25, 1.0], [2.0])
    >>> MinMaxScaler(**dataclasses.asdict(scaler)) == scaler
    True
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"MinMaxScaler: expected finite low < high; received {self.low!r} and "
                f"{self.high!r}. A constant column carries no information: leave it out."
            )

    @classmethod
    def fit(cls, values: Any) -> "MinMaxScaler":
        """Fit the scaler to the values of training rows `(rows,)`.

        Raises:
            ValueError: if there are no values, they are all equal, or some are not finite.
        """
        array = _finite("MinMaxScaler", values)
        return cls(float(array.min()), float(array.max()))

    def _origin_and_unit(self) -> tuple[float, float]:
        return self.low, self.high - self.low


@dataclasses.dataclass(frozen=True)
class StandardScaler(_Scaler):
    """Scaler to mean 0 and standard deviation 1: `(x - mean) / deviation`.

    Args:
        mean: mean of the training rows.
        deviation: standard deviation of the training rows (divided by n).

    Raises:
        ValueError: if the numbers are not finite, or the deviation is not above 0.

    Example:

    >>> scaler = StandardScaler.fit([1.0, 3.0])
    >>> scaler.transform([1, 2, 3]).tolist(), scaler.inverse([-1.0]).tolist()
    ([-1.0, 0.0, 1.0], [1.0])
    """

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean) and np.isfinite(self.deviation) and self.deviation > 0):
            raise ValueError(
                f"StandardScaler: expected a finite mean and a deviation above 0; received "
                f"{self.mean!r} and {self.deviation!r}. A constant column carries no "
                "information: leave it out."
            )

    @classmethod
    def fit(cls, values: Any) -> "StandardScaler":
        """Fit the scaler to the values of training rows `(rows,)`.

        Raises:
            ValueError: if there are no values, they are all equal, or some are not finite.
        """
        array = _finite("StandardScaler", values)
        # The deviation of equal values may round to 1e-17 instead of 0.
        deviation = float(array.std()) if array.min() < array.max() else 0.0
        return cls(float(array.mean()), deviation)

    def _origin_and_unit(self) -> tuple[float, float]:
        return self.mean, self.deviation


def fitted_scale(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of numbers, 1 where they are all equal.

    Example:

    >>> fitted_scale(np.array([1.0, 3.0])), fitted_scale(np.array([2.0, 2.0]))
    ((2.0, 1.0), (2.0, 1.0))
    """
    array = _finite("StandardScaler", values)
    if array.min() == array.max():
        return float(array[0]), 1.0
    scaler = StandardScaler.fit(array)
    return scaler.mean, scaler.deviation


def _finite(owner: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{owner}: expected numbers; received {values!r:.80} ({error})."
        ) from error
    if array.ndim != 1 or not array.size:
        raise ValueError(
            f"{owner}: expected one column of at least one value; received the shape {array.shape}."
        )
    if bad := int(array.size - np.isfinite(array).sum()):
        raise ValueError(
            f"{owner}: {bad} of {array.size} values are NaN or infinite; expected finite numbers. "
            "Drop these rows first."
        )
    return array

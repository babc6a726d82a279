"""Scalers of numbers, fitted on training rows, and the weights of bags, which are not scaled."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

from kerasrec.schema import PADDING_ID, Bag, BagWeights, Schema

FEWEST_FOR_TAIL = 50
LEAST_SKEWNESS = 2.0

Scaling = Literal["standard", "minmax"]
SCALINGS = ("standard", "minmax")


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


def fitted_scale(
    values: np.ndarray, log: bool = False, scaling: Scaling = "standard"
) -> tuple[float, float]:
    """Return the number that is scaled to 0, and its distance to the one that is scaled to 1.

    Args:
        values: finite numbers `(rows,)`.
        log: whether to return those of their logarithms.
        scaling: "standard" for mean and standard deviation, "minmax" for the lowest number and the
            distance from it to the highest. Of numbers that are all equal, the distance is 1.

    Example:

    >>> fitted_scale(np.array([1.0, 3.0])), fitted_scale(np.array([2.0, 2.0]))
    ((2.0, 1.0), (2.0, 1.0))
    >>> fitted_scale(np.array([1.0, 2.0, 5.0]), scaling="minmax")
    (1.0, 4.0)
    """
    scaler: Any = MinMaxScaler if scaling == "minmax" else StandardScaler
    array = _finite(scaler.__name__, values)
    array = logarithm(array) if log else array
    if array.min() == array.max():
        return float(array[0]), 1.0
    origin, unit = scaler.fit(array)._origin_and_unit()
    return float(origin), float(unit)


def logarithm(values: np.ndarray) -> np.ndarray:
    """Return `sign(x) log(1 + |x|)` of numbers, the scale of `Numeric(log=True)`.

    Example:

    >>> logarithm(np.array([-3.0, 0.0, 3.0])).round(4).tolist()
    [-1.3863, 0.0, 1.3863]
    """
    array = np.asarray(values, np.float64)
    return np.sign(array) * np.log1p(np.abs(array))


def is_heavy_tailed(values: np.ndarray) -> bool:
    """Return whether numbers have a heavy tail that a logarithm shortens.

    Their skewness is above 2 in size, and less than half as large for `logarithm`. Of fewer than 50
    numbers, one alone may make any skewness, and the answer is no.

    Args:
        values: finite numbers `(rows,)`.

    Example:

    >>> views = np.repeat([0, 1, 10, 100, 1000], [40, 30, 20, 9, 1])
    >>> is_heavy_tailed(views), is_heavy_tailed(np.arange(100)), is_heavy_tailed(views / 1e6)
    (True, False, False)
    """
    if len(values) < FEWEST_FOR_TAIL:
        return False
    raw = _skewness(np.asarray(values, np.float64))
    return raw > LEAST_SKEWNESS and _skewness(logarithm(values)) < raw / 2


def _skewness(array: np.ndarray) -> float:
    """Return the absolute skewness of numbers, 0 where they are all equal."""
    largest = np.abs(array).max()
    if array.min() == array.max():
        return 0.0
    deviations = array / largest  # cubes of huge numbers would overflow
    deviations -= deviations.mean()
    spread = deviations.std()
    return abs(float(np.mean((deviations / spread) ** 3))) if spread else 0.0


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


def fit_weights(name: str, lists: Any, kind: str, longest: int) -> BagWeights:
    """Return the feature of the weights of a bag.

    Args:
        name: name of the feature.
        lists: Arrow lists of the weights of the training rows.
        kind: "weights:" and the name of the bag.
        longest: number of ids kept of a bag.

    Raises:
        ValueError: if a weight is negative or not finite, there are none, or no bag is named.
    """
    known = lists.flatten().drop_null().to_numpy(zero_copy_only=False)
    if not len(known) or not np.isfinite(known).all() or known.min() < 0:
        received = f"{known.min():g} to {known.max():g}" if len(known) else "none"
        raise ValueError(
            f"prepare: {name!r} must hold finite weights of 0 and more; received {received}."
        )
    if not (bag := kind.partition(":")[2]):
        raise ValueError(
            f"prepare: features[{name!r}] must name the bag whose ids it weighs, as in "
            f"'weights:genres'; received {kind!r}."
        )
    width = min(pc.max(pc.list_value_length(lists)).as_py(), longest)
    return BagWeights(name, width, of=bag)


def as_wide_as_bags(features: Sequence[Any]) -> list[Any]:
    """Return features of one side in which weights have the width of their bag.

    The longest lists of values may be those of rows without weights.

    Example:

    >>> as_wide_as_bags([Bag("genres", 9, 3), BagWeights("shares", 2, of="genres")])[1].size
    3
    """
    widths = {feature.name: feature.max_length for feature in features if type(feature) is Bag}
    return [
        dataclasses.replace(feature, size=max(feature.size, widths.get(feature.of, 0)))
        if isinstance(feature, BagWeights)
        else feature
        for feature in features
    ]


def check_weights(schema: Schema, columns: Mapping[str, np.ndarray], what: str) -> None:
    """Check that rows have a weight for each id of a bag, or none at all.

    Args:
        schema: the features.
        columns: encoded columns; features of other tables are not looked at.
        what: start of the error message.

    Raises:
        ValueError: if some rows have not.
    """
    for feature in schema.features:
        if not isinstance(feature, BagWeights) or {feature.name, feature.of} - set(columns):
            continue
        given, ids = ~np.isnan(columns[feature.name]), columns[feature.of] != PADDING_ID
        wrong = np.flatnonzero(given.any(axis=1) & (given != ids).any(axis=1))
        if len(wrong):
            row = wrong[0]
            raise ValueError(
                f"{what}: expected a weight in {feature.name!r} for each value of "
                f"{feature.of!r}; {len(wrong):,} rows have others, the first one (row {row}) "
                f"{given[row].sum()} weights and {ids[row].sum()} values. Correct the lists, or "
                "leave all weights of a row out, which weighs its values alike."
            )

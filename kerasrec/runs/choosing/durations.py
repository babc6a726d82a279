"""Length of a training: the number of epochs, the patience and the fall of the rate."""

import math
from typing import Any

# A setting and the reason for it.
Settings = dict[str, tuple[Any, str]]

CPU_SECONDS = 480
"""Time of a training on one core, estimated from its arithmetic, that bounds the epochs."""
SPEED = 7.5e10
"""Arithmetic operations of one core in a second, as measured in trainings."""
FEWEST, MOST = 5, 40
"""Bounds of the number of epochs."""


def power_of_two(value: float, least: int, most: int) -> int:
    """Round to a power of two within bounds.

    Example:

    >>> power_of_two(900, 64, 4096), power_of_two(7, 64, 4096)
    (1024, 64)
    """
    return min(most, max(least, 2 ** round(math.log2(max(1.0, value)))))


def share(value: float, low: float, high: float) -> float:
    """Return where a value lies between two others by its logarithm: 0 at low, 1 at high.

    Example:

    >>> share(10, 1, 100), share(0, 1, 100), share(500, 1, 100)
    (0.5, 0.0, 1.0)
    """
    return min(1.0, max(0.0, math.log(max(value, 1e-9) / low) / math.log(high / low)))


def end_of(
    steps: float, total: int, products: float, most: int = MOST, *, linear: bool = False
) -> Settings:
    """Choose the number of epochs, and when and how training ends.

    Args:
        steps: steps of an epoch.
        total: steps in all that are enough.
        products: multiplications of one pass forward over all rows.
        most: largest number of epochs.
        linear: whether the rate falls linearly where time ends the training. It stays high for
            longer, which more epochs would do as well.
    """
    enough = total / max(1.0, steps)
    # A pass backward takes twice as much, and each product is followed by a sum.
    affordable = CPU_SECONDS * SPEED / (6 * max(1.0, products))
    epochs = int(min(most, max(FEWEST, round(min(enough, affordable)))))
    why = f"about {total:,} steps" if enough <= affordable else f"about {CPU_SECONDS} CPU seconds"
    decay: Settings = {
        "decay": ("inverse_time", "fast at first, so that training may end early"),
        "decay_rate": (9.0, "a tenth of the rate at the end"),
    }
    if linear and epochs < round(min(enough, most)):
        decay = {
            "decay": ("linear", "time ends the training"),
            "decay_rate": (99.0, "a hundredth of the rate at the end"),
        }
    return {
        "epochs": (epochs, why),
        "patience": (max(3, epochs // 5), "a fifth of the epochs"),
        **decay,
        "clipnorm": (1.0, "gradients of one variable are at most this long"),
    }

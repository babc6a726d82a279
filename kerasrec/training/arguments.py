"""Sizes that a user passed."""

import keras


def check_size(model: keras.Model, argument: str, value: object) -> None:
    """Refuses what is no positive integer, under the name that the user gave it.

    Args:
        model: whose argument it is.
        argument: its name.
        value: what was received.

    Raises:
        ValueError: naming all three.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{type(model).__name__}: {argument} must be an integer of at least 1; received "
            f"{value!r}."
        )

"""Validation of sizes passed by the user."""

import keras


def check_size(model: keras.Model, argument: str, value: object) -> None:
    """Check that an argument is a positive integer.

    Args:
        model: name of the model.
        argument: name of the argument.
        value: the received value.

    Raises:
        ValueError: naming all three, if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{type(model).__name__}: {argument} must be an integer of at least 1; received "
            f"{value!r}."
        )

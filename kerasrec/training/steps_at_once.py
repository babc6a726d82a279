"""Choice of steps per execution that keeps callbacks that count batches correct."""

from typing import Any

import keras

from kerasrec._keras import profiles_batches

HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)
# Frequency arguments of Keras callbacks, counted in batches if they are numbers.
FREQUENCIES = ("save_freq", "update_freq")


def steps_at_once(most: int, callbacks: Any, counts: list[int | None]) -> int:
    """Return the largest number of steps per execution that no batch counter notices.

    Args:
        most: upper limit.
        callbacks: as for `keras.Model.fit`.
        counts: numbers of steps that must be met exactly: `steps_per_epoch` and `validation_steps`,
            or None.

    Returns:
        1 if a callback counts batches, else the largest divisor of all counts up to `most`.

    Example:

    >>> steps_at_once(32, [keras.callbacks.EarlyStopping()], [50, None])
    25
    >>> steps_at_once(32, [keras.callbacks.TerminateOnNaN()], [None])
    1
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    if any(counts_batches(callback) for callback in keras.tree.flatten(callbacks or [])):
        return 1
    given = [count for count in counts if count]
    return max(n for n in range(1, most + 1) if all(count % n == 0 for count in given))


def counts_batches(callback: Any) -> bool:
    """Return whether a callback acts on single batches.

    The attribute `counts_batches` of a callback decides if there is one: it is False if the batch
    hooks also work when they see every n-th batch only. Otherwise, a callback counts batches if it
    overrides a batch hook. Keras callbacks that use batch hooks for a frequency count batches only
    if one is set.

    Args:
        callback: as for `keras.Model.fit`.
    """
    declared = getattr(callback, "counts_batches", None)
    if declared is not None:
        return bool(declared)
    methods = [getattr(callback, hook, None) for hook in HOOKS]
    plain = [getattr(keras.callbacks.Callback, hook) for hook in HOOKS]
    own = [
        method
        for method, base in zip(methods, plain, strict=True)
        if method is not None and getattr(method, "__func__", method) is not base
    ]
    if not own:
        return False
    if not all(str(method.__module__).startswith("keras.") for method in own):
        return True
    if isinstance(callback, keras.callbacks.ProgbarLogger):
        return False  # It gets the number of the last step.
    if profiles_batches(callback):
        return True
    rhythm = [getattr(callback, name) for name in FREQUENCIES if hasattr(callback, name)]
    return not rhythm or any(frequency not in ("epoch", False) for frequency in rhythm)

"""Step numbers of an epoch for callbacks, and skipping of steps already done."""

from collections.abc import Callable, Iterator
from typing import Any

from kerasrec._keras import replace_enumeration
from kerasrec.training.train_function import train_function_of

PutBack = Callable[[Any], None]


class EpochSteps:
    """Step numbers of an epoch iterator of Keras `fit` or `evaluate`.

    With several steps per execution, Keras numbers the last execution of an epoch as if the epoch
    went on, and progress bars show 128/120. Here it gets the number of the last step, unless
    `steps_per_epoch` is given, where Keras does go on.
    """

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator
        self._plain = replace_enumeration(iterator, self._numbered)
        self._done: tuple[int, PutBack | None] = 0, None

    def skip(self, steps: int, put_back: PutBack) -> None:
        """Start the next epoch after some steps, and call `put_back` with their last batch."""
        self._done = steps, put_back

    def _numbered(self) -> Iterator[tuple[int, int, Any]]:
        (done, put_back), self._done = self._done, (0, None)
        for begin, end, batches in self._plain():
            if begin < done:
                last = take(batches, end + 1 - begin)
                if end + 1 >= done and put_back is not None:
                    put_back(last)
                continue
            count = None if self._iterator.steps_per_epoch else self._iterator.num_batches
            yield begin, end if count is None else min(end, count - 1), batches


class SkippedCalls:
    """Part of a train function whose first calls consume batches without training.

    Args:
        steps: number of steps to skip.
        at_once: number of steps per call.
        put_back: called with the last of the batches; returns the logs of the last call.
    """

    def __init__(self, steps: int, at_once: int, put_back: Callable[[Any], dict[str, Any]]) -> None:
        self._left, self._at_once, self._put_back = steps, at_once, put_back

    def wrap_function(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a function that skips the first calls."""

        def skipping(iterator: Any) -> Any:
            if self._left <= 0:
                return function(iterator)
            self._left -= self._at_once
            last = take(iterator, self._at_once)
            return self._put_back(last) if self._left <= 0 else {}

        return skipping


def skip_steps(model: Any, steps: int, put_back: PutBack) -> None:
    """Start `fit` after some steps of its first epoch. Call it in `on_train_begin`.

    The batches of these steps are created and discarded. In a model of this library, no callback
    sees them. In other Keras models the loop cannot be changed, and callbacks see these steps with
    empty logs, except for the last one.

    Args:
        model: the model being fitted.
        steps: number of steps to skip, in whole executions or up to the end of the epoch.
        put_back: called with the last of the batches, before the first remaining step.
    """
    own: EpochSteps | None = getattr(model, "_epoch_steps", None)
    if own is not None:
        own.skip(steps, put_back)
        return

    def put_back_and_log(batch: Any) -> dict[str, float]:
        put_back(batch)
        return {name: float(value) for name, value in model.get_metrics_result().items()}

    part = SkippedCalls(steps, model.steps_per_execution, put_back_and_log)
    train_function_of(model).add(part)


def take(batches: Any, count: int) -> Any:
    """Consume up to `count` batches and return the last one."""
    taken = [batch for _ in range(count) if (batch := next(batches, None)) is not None]
    return taken[-1] if taken else None

"""Numbers of the steps of an epoch as callbacks see them, and steps that are done already."""

from collections.abc import Callable, Iterator
from typing import Any

from kerasrec._keras import replace_enumeration
from kerasrec.training.train_function import train_function_of

PutBack = Callable[[Any], None]


class EpochSteps:
    """Numbers the steps of what `fit` or `evaluate` of Keras goes through.

    Where several steps run at once, Keras gives the last execution of an epoch the number that it
    would have if the epoch went on: progress bars read 128/120. It has the number of the last step
    here, unless `steps_per_epoch` says otherwise, with which Keras does go on.

    Args:
        iterator: of one `fit` or `evaluate` of Keras.
    """

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator
        self._plain = replace_enumeration(iterator, self._numbered)
        self._done: tuple[int, PutBack | None] = 0, None

    def skip(self, steps: int, put_back: PutBack) -> None:
        """Lets the next epoch begin after so many steps: their batches are taken, and no more.

        Args:
            steps: how many.
            put_back: called with the last of these batches, before the first step that is left.
        """
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
    """A part of a train function whose first calls take their batches and train nothing.

    Args:
        steps: how many there are.
        at_once: steps of a call.
        put_back: called with the last of their batches; returns the logs of the last call.
    """

    def __init__(self, steps: int, at_once: int, put_back: Callable[[Any], dict[str, Any]]) -> None:
        self._left, self._at_once, self._put_back = steps, at_once, put_back

    def wrap_function(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The function behind the calls that are left out."""

        def skipping(iterator: Any) -> Any:
            if self._left <= 0:
                return function(iterator)
            self._left -= self._at_once
            last = take(iterator, self._at_once)
            return self._put_back(last) if self._left <= 0 else {}

        return skipping


def skip_steps(model: Any, steps: int, put_back: PutBack) -> None:
    """Lets `fit` begin after so many steps of its first epoch; call it in `on_train_begin`.

    The batches of these steps are made and thrown away. In a model of this library no callback sees
    them. The loop of another Keras model cannot be entered: there callbacks see these steps, with
    empty logs but for the last one.

    Args:
        model: what is fitted.
        steps: how many, as whole executions or up to the end of the epoch.
        put_back: called with the last of the batches, before the first step that is left.
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
    """The last of the next batches. An execution at the end of an epoch may have fewer.

    Args:
        batches: iterator of them.
        count: how many to take at most.
    """
    taken = [batch for _ in range(count) if (batch := next(batches, None)) is not None]
    return taken[-1] if taken else None

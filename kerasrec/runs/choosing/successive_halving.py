"""Short trainings that choose between some settings within a time budget."""

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from kerasrec.runs.best_epoch import BestEpoch, is_finite
from kerasrec.runs.choosing import rules
from kerasrec.runs.choosing.choices import GIVEN, Choices, choose, class_of
from kerasrec.runs.recipes import check_loss, recipe
from kerasrec.runs.settings import Training, seconds_of
from kerasrec.runs.terminal import say
from kerasrec.types import is_computed

if TYPE_CHECKING:
    from kerasrec.data import PreparedData

SHARE = 8
"""A candidate trains for one of so many epochs in the first round."""


def search(
    model: str,
    ready: "PreparedData",
    training: Training | None = None,
    *,
    budget: str | float,
    max_length: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    verbose: int = 1,
) -> Choices:
    """Choose settings by successive halving: short trainings, of which the better half goes on.

    The candidates are what the rules choose, and up to three alternatives to it. They are judged by
    the measure of the evaluation on the validation rows (Jamieson and Talwalkar, 2016,
    "Non-stochastic Best Arm Identification and Hyperparameter Optimization"). What is given is the
    same in all of them. The choice may depend on the speed of the machine; the run records it.

    Args:
        model: name of a model.
        ready: the rows, with validation rows.
        training: training options that are given; None for none.
        budget: time for all short trainings together: seconds, or a text such as "5m".
        max_length: length of histories, if it is given.
        arguments: arguments of the constructor that are given.
        verbose: 1 prints a line per short training on stderr, 0 prints nothing.

    Raises:
        ValueError: if the budget is not positive, there are no validation rows, or as in `choose`.
    """
    seconds = seconds_of(budget)
    end = time.perf_counter() + seconds
    kind = class_of(model)
    check_loss(kind, training.loss if training else None)
    base = choose(model, ready, training, max_length=max_length, arguments=arguments)
    candidates = [] if is_computed(kind) else _Candidate.all_of(base, ready)
    if len(candidates) < 2:
        say(f"{model} has no settings to compare in short trainings.")
        return base
    labels = base.training.loss in ("mse", "log_loss")
    if not len(ready.split.valid) or not (labels or ready.has_targets(ready.valid)):
        raise ValueError(
            f"budget={budget!r}: there are no positive validation rows to compare settings on. "
            "Hold some out, or leave the budget out."
        )
    if verbose:
        say(f"Comparing {len(candidates)} settings in {seconds:g} seconds at most.")
    epochs = int(base.training.epochs or 1)
    trained, last = 0, max(1, epochs // SHARE)
    while len(candidates) > 1 and trained < epochs:
        compared: list[_Candidate] = []
        for one in candidates:
            if not one.train(trained, last, end):
                break
            compared.append(one)
            if verbose and one.monitor:
                say(f"  {one.name}: {one.monitor} {one.figure:.4f} after epoch {last}")
        if trained and len(compared) < len(candidates):
            break  # the budget has ended, and a later round counts as a whole
        if len(compared) < 2:
            say("The budget ended before two settings could be compared: the rules decide.")
            return base
        learned = [one for one in compared if one.value > float("-inf")]
        if not learned:
            say("None of the settings had a finite loss: the rules decide.")
            return base
        candidates = sorted(learned, key=lambda one: -one.value)[: (len(compared) + 1) // 2]
        trained, last = last, min(epochs, 2 * last)
    best = candidates[0]
    if verbose:
        say(f"Best of them: {best.name}.")
    reason = f"best of the short trainings: {best.monitor} {best.figure:.4f}"
    return with_changes(base, best.changed, reason)


class _Candidate:
    """One setting, and its training so far."""

    def __init__(self, choices: Choices, changed: Mapping[str, Any], ready: "PreparedData") -> None:
        self.choices, self.changed, self.ready = choices, changed, ready
        self.name = ", ".join(f"{n} {v}" for n, v in changed.items()) or "what the rules chose"
        self.figure, self.higher = float("nan"), True
        self.monitor = ""
        self._made: Any = None

    @classmethod
    def all_of(cls, base: Choices, ready: "PreparedData") -> "list[_Candidate]":
        """Return the choice of the rules and its alternatives, as far as nothing given changes."""
        ready = base.prepared(ready)  # the same rows for all
        found = [cls(base, {}, ready)]
        for changed in rules.alternatives(base.model, str(base.training.loss), base.facts):
            known = {n: v for n, v in changed.items() if base.reasons.get(n) != GIVEN}
            if known and all(known != one.changed for one in found):
                found.append(cls(with_changes(base, known, "tried"), known, ready))
        return found

    def train(self, first: int, last: int, end: float) -> bool:
        """Train from one epoch to another, and return whether it got there before the end."""
        if time.perf_counter() > end:
            return False
        training = self.choices.training
        if self._made is None:
            try:
                made = recipe(self.choices.make(self.ready), self.ready, training)
            except ValueError as error:
                if not self.changed:
                    raise
                say(f"  {self.name}: left out. {error}")
                return True  # with no figure
            # XLA would take longer to compile than so few epochs take to train.
            made.trainer.compile(made.optimizer, made.loss, jit_compile=False)
            self._made = made
        made = self._made
        best = next(one for one in made.callbacks if isinstance(one, BestEpoch))
        self.monitor, self.higher = best.monitor, best.higher
        watch = [one for one in made.callbacks if not isinstance(one, BestEpoch)]
        try:
            history = made.trainer.fit(
                made.batches,
                validation_data=made.valid if best.monitor == "val_loss" else None,
                initial_epoch=first,
                epochs=last,
                callbacks=[*watch, _Deadline(end)],
                verbose=0,
            ).history
        except TimeoutError:
            return False
        figures = [float(value) for value in history.get(best.monitor, ())]
        logs = {name: values[-1] for name, values in history.items()}
        if figures and is_finite(logs):
            better = max if self.higher else min
            self.figure = better([*figures, *([self.figure] if first else [])])
        else:
            self.figure = float("nan")
        return True

    @property
    def value(self) -> float:
        """Return the figure, higher being better, and lower than any for one that diverged."""
        signed = self.figure if self.higher else -self.figure
        return signed if signed == signed else float("-inf")


class _Deadline(keras.callbacks.Callback):
    """End `fit` with a TimeoutError at a time of `time.perf_counter`."""

    # Late by some steps, see `FitModel.compile`.
    counts_batches = False

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the clock."""
        if time.perf_counter() > self.end:
            raise TimeoutError


def with_changes(base: Choices, changed: Mapping[str, Any], reason: str) -> Choices:
    """Return choices with some settings changed, all for one reason."""
    options = {field.name for field in dataclasses.fields(Training)}
    training = {name: value for name, value in changed.items() if name in options}
    arguments = {name: value for name, value in changed.items() if name not in options}
    return dataclasses.replace(
        base,
        arguments={**base.arguments, **arguments},
        training=dataclasses.replace(base.training, **training),
        reasons={**base.reasons, **dict.fromkeys(changed, reason)},
    )

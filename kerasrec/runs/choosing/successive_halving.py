"""Short trainings that choose between some settings within a time budget."""

import dataclasses
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

import kerasrec
from kerasrec.runs.best_epoch import BestEpoch, is_finite
from kerasrec.runs.choosing import rules
from kerasrec.runs.choosing.choices import GIVEN, Choices, choose
from kerasrec.runs.recipes import check_loss, recipe
from kerasrec.runs.settings import Training
from kerasrec.runs.terminal import say

if TYPE_CHECKING:
    from kerasrec.data import PreparedData

SHARE = 8
"""A candidate trains for one of so many epochs in the first round."""


def seconds_of(budget: str | float) -> float:
    """Return the seconds of a budget such as "90", "90s", "5m" or "1h".

    Raises:
        ValueError: if it is something else, or not positive.

    Example:

    >>> seconds_of("5m"), seconds_of("90"), seconds_of(30)
    (300.0, 90.0, 30.0)
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([smh]?)\s*", str(budget))
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not seconds:
        raise ValueError(
            f"budget={budget!r}: expected a time above 0, such as '90s', '5m' or '1h'. Leave it "
            "out to take what the rules choose."
        )
    return seconds


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
    check_loss(getattr(kerasrec.models, model), training.loss if training else None)
    base = choose(model, ready, training, max_length=max_length, arguments=arguments)
    candidates = _Candidate.all_of(base, ready)
    if len(candidates) == 1:
        return base
    end = time.perf_counter() + seconds
    epochs = int(base.training.epochs or 1)
    trained, last = 0, max(1, epochs // SHARE)
    while len(candidates) > 1 and trained < epochs:
        compared = []
        for one in candidates:
            if time.perf_counter() + one.seconds_per_epoch * (last - trained) > end:
                break
            one.train(trained, last)
            compared.append(one)
            if verbose:
                say(f"  {one.name}: {one.monitor} {one.figure:.4f} after epoch {last}")
        if len(compared) < len(candidates):  # the budget has ended
            if trained == 0 and len(compared) > 1:
                candidates = compared
            elif trained == 0:
                say("The budget ended before two settings could be compared: the rules decide.")
                return base
            break
        candidates = sorted(candidates, key=lambda one: -one.value)[: (len(candidates) + 1) // 2]
        trained, last = last, min(epochs, 2 * last)
    best = max(candidates, key=lambda one: one.value)
    if best.value == float("-inf"):
        say("None of the settings had a finite loss: the rules decide.")
        return base
    if verbose:
        say(f"Best of them: {best.name}.")
    reason = f"best of the short trainings: {best.monitor} {best.figure:.4f}"
    return with_changes(base, best.changed, reason)


class _Candidate:
    """One setting, and its training so far."""

    def __init__(self, choices: Choices, changed: Mapping[str, Any], ready: "PreparedData") -> None:
        self.choices, self.changed = choices, changed
        self.ready = choices.prepared(ready)
        self.name = ", ".join(f"{n} {v}" for n, v in changed.items()) or "what the rules chose"
        self.figure, self.seconds_per_epoch, self.higher = float("nan"), 0.0, True
        self.monitor = ""
        self._made: Any = None

    @classmethod
    def all_of(cls, base: Choices, ready: "PreparedData") -> "list[_Candidate]":
        """Return the choice of the rules and its alternatives, as far as nothing given changes."""
        found = [cls(base, {}, ready)]
        for changed in rules.alternatives(base.model, str(base.training.loss), base.facts):
            known = {n: v for n, v in changed.items() if base.reasons.get(n) != GIVEN}
            if known and all(known != one.changed for one in found):
                found.append(cls(with_changes(base, known, "tried"), known, ready))
        return found

    def train(self, first: int, last: int) -> None:
        """Train from one epoch to another."""
        start = time.perf_counter()
        training = self.choices.training
        if self._made is None:
            keras.utils.set_random_seed(training.seed)
            made = recipe(self.choices.make(self.ready), self.ready, training)
            made.trainer.compile(made.optimizer, made.loss, jit_compile=training.jit_compile)
            self._made = made
        made = self._made
        best = next(one for one in made.callbacks if isinstance(one, BestEpoch))
        self.monitor, self.higher = best.monitor, best.higher
        watch = [one for one in made.callbacks if not isinstance(one, BestEpoch)]
        history = made.trainer.fit(
            made.batches,
            validation_data=made.valid if best.monitor == "val_loss" else None,
            initial_epoch=first,
            epochs=last,
            callbacks=watch,
            verbose=0,
        ).history
        figures = [float(value) for value in history.get(best.monitor, ())]
        logs = {name: values[-1] for name, values in history.items()}
        if figures and is_finite(logs):
            better = max if self.higher else min
            self.figure = better([*figures, *([self.figure] if first else [])])
        else:
            self.figure = float("nan")
        self.seconds_per_epoch = (time.perf_counter() - start) / (last - first)

    @property
    def value(self) -> float:
        """Return the figure, higher being better, and lower than any for one that diverged."""
        signed = self.figure if self.higher else -self.figure
        return signed if signed == signed else float("-inf")


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

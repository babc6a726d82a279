"""Training of a model in one call."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kerasrec.calibration import Calibration
from kerasrec.callbacks import TrainingDiagnostics
from kerasrec.runs.best_epoch import BestEpoch
from kerasrec.runs.checkpoint import Checkpoint
from kerasrec.runs.choosing.choices import Choices, choose, class_of
from kerasrec.runs.choosing.facts import check_ready
from kerasrec.runs.choosing.successive_halving import search
from kerasrec.runs.clicks.calibrate import calibrate
from kerasrec.runs.clicks.overfitting import one_epoch_note
from kerasrec.runs.epochs import Epochs
from kerasrec.runs.recipes import check_loss, recipe
from kerasrec.runs.settings import Training, choices_of
from kerasrec.runs.terminal import say
from kerasrec.types import is_computed

if TYPE_CHECKING:
    from kerasrec.data import PreparedData


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """Result of a training, whose model has the weights of its best epoch.

    Args:
        history: losses by epoch.
        epochs: epochs after which the model's weights were taken.
        problem: why training ended early, if it did.
        diverged: whether a loss or a weight was not finite.
        calibration: how the model's logits become probabilities, after a training by log_loss.
        overfit: a sentence on what helps, if the first epoch was clearly better than the others.
    """

    history: dict[str, list[float]]
    epochs: int = 0
    problem: str | None = None
    diverged: bool = False
    calibration: Calibration | None = None
    overfit: str | None = None


def train(
    model: Any,
    ready: "PreparedData",
    training: Training | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    refit_epochs: int | None = None,
    verbose: int = 1,
    **choices: Any,
) -> TrainingResult:
    """Train a model by the recipe for what it can do, or compute it if it needs no epochs.

    This compiles and fits what `recipe` returns. Ctrl-C and a non-finite loss end the training, and
    the best epoch so far is kept. A model made in the scope of a strategy, see
    `kerasrec.distribute`, is trained on its replicas: batches, clipping and weights are those of
    one device, but for dropout and for the rounding of sums.

    Args:
        model: a fresh model, made from the schema of the data.
        ready: the rows, from `kerasrec.data.prepare`.
        training: options in one object; None for the choice of the rules, see `choose`.
        folder: where the state is saved after each epoch. If an earlier training with the same
            choices was saved there, this one continues it. None to save nothing.
        refit_epochs: number of epochs of a training on all rows, as an earlier one found them. The
            learning rate still falls over the epochs of the choices. No rows are left to calibrate
            on: give the model the calibration of the earlier one.
        verbose: 1 prints a line per epoch on stderr, 0 prints nothing.
        **choices: single fields of `Training` instead, or to change in it.

    Raises:
        KeyboardInterrupt: if there is no epoch to keep.
        ValueError: if a choice is invalid or does not suit the model, or the loss is not finite in
            the first epoch.

    Example:

    >>> from kerasrec import data, datasets, models
    >>> rows = datasets.load("synthetic").interactions
    >>> ready = data.prepare(data.leave_last_out(rows))
    >>> model = models.MatrixFactorization(ready.schema, embedding_dim=4)
    >>> result = train(model, ready, epochs=2, jit_compile=False, verbose=0)
    >>> len(result.history["loss"]), "val_ndcg@10" in result.history
    (2, True)
    """
    check_ready("train", ready)
    if is_computed(model):
        choices_of(training, choices)
        ready.for_model(model)  # refuses one of other vocabularies
        model.adapt(ready.train)
        if verbose:
            say(f"{type(model).__name__} is computed from the rows, without epochs.")
        return TrainingResult({})
    with model.distribute_strategy.scope():
        if refit_epochs is not None:  # all rows are training rows
            choices = {**choices, "calibration": "none"}
        made = recipe(model, ready, training, **choices)
        made.trainer.compile(made.optimizer, made.loss, jit_compile=made.training.jit_compile)
    epochs = refit_epochs or int(made.training.epochs or 1)
    best = next(one for one in made.callbacks if isinstance(one, BestEpoch))
    shown = Epochs(epochs, best.monitor, higher=best.higher)
    # After the validation, whose figure it shows.
    callbacks = [*made.callbacks[:-1], *([shown] if verbose else []), best]
    if folder is not None:
        name = "state" if refit_epochs is None else "refit"
        callbacks.append(Checkpoint(Path(folder), made.batches, best, name=name))
    if verbose and made.valid is None and refit_epochs is None:
        positive = "positive " if len(ready.split.valid) else ""
        say(f"No {positive}validation rows: training runs for all epochs.")
    interrupted = False
    try:
        made.trainer.fit(
            made.batches,
            validation_data=made.valid,
            epochs=epochs,
            callbacks=callbacks,
            verbose=0,
        )
    except KeyboardInterrupt:
        if best.best_epoch is None:
            raise
        interrupted = True
        for callback in callbacks:  # Keras does not end them
            callback.on_train_end()
    diagnosis = next(
        one.diagnosis for one in made.callbacks if isinstance(one, TrainingDiagnostics)
    )
    result = _result(best, diagnosis, interrupted)
    if verbose and result.problem:
        say(result.problem)
    if refit_epochs is None:
        figures = best.history.get(best.monitor, ())
        note = one_epoch_note(model, made.training, best.monitor, figures, higher=best.higher)
        result = dataclasses.replace(result, overfit=note)
        if verbose and note:
            say(note)
        found = calibrate(model, ready, made.training, verbose=verbose)
        result = dataclasses.replace(result, calibration=found)
    return result


class Fitted(NamedTuple):
    """A model trained by `fit`, the rows as it reads them, what was chosen and how it went."""

    model: Any
    ready: "PreparedData"
    choices: Choices
    result: TrainingResult


def fit(
    model: str,
    ready: "PreparedData",
    training: Training | None = None,
    *,
    budget: str | float | None = None,
    max_length: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    verbose: int = 1,
    **choices: Any,
) -> Fitted:
    """Choose what is not given, make the model and train it, as `kerasrec fit` does.

    Args:
        model: name of a model.
        ready: the rows, from `kerasrec.data.prepare`.
        training: training options that are given; None for none.
        budget: time for short trainings that compare some settings first, such as "5m", see
            `search`; None to take what the rules choose.
        max_length: length of histories, if it is given.
        arguments: arguments of the constructor that are given.
        folder: see `train`.
        verbose: 1 prints what is chosen and a line per epoch on stderr, 0 prints nothing.
        **choices: single fields of `Training`.

    Raises:
        KeyboardInterrupt: if there is no epoch to keep.
        ValueError: as in `choose`, `search` and `train`.

    Example:

    >>> from kerasrec import data, datasets, evaluation
    >>> ready = data.prepare(data.leave_last_out(datasets.load("synthetic").interactions))
    >>> found = fit("MatrixFactorization", ready, epochs=2, jit_compile=False, verbose=0)
    >>> found.choices.training.loss, found.result.epochs <= 2
    ('softmax', True)
    """
    check_ready("fit", ready)
    given = choices_of(training, choices)
    check_loss(class_of(model), given.loss)
    about: dict[str, Any] = {"max_length": max_length, "arguments": arguments}
    if budget is None:
        chosen = choose(model, ready, given, **about)
    else:
        chosen = search(model, ready, given, budget=budget, verbose=verbose, **about)
    if verbose:
        say(chosen.describe())
    rows = chosen.prepared(ready)
    made = chosen.make(rows)
    rows = rows.for_model(made)
    result = train(made, rows, chosen.training, folder=folder, verbose=verbose)
    return Fitted(made, rows, chosen, result)


def _result(best: BestEpoch, diagnosis: str | None, interrupted: bool) -> TrainingResult:
    """Describe how a training ended."""
    first = diagnosis.splitlines()[0] if diagnosis else ""
    if best.best_epoch is None:
        raise ValueError(f"{first} No earlier epoch had a finite loss, so no weights are kept.")
    problem, epochs = None, best.best_epoch + 1
    if diagnosis is not None:
        problem = f"{first} The weights after epoch {epochs} are kept."
    elif interrupted:
        done = len(best.history["loss"])
        problem = f"Training was interrupted after epoch {done}. Epoch {epochs} is kept."
    return TrainingResult(best.history, epochs, problem, diverged=diagnosis is not None)

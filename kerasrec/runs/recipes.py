"""Recipes: what a model is trained with, by what it can do and by the loss that is asked for."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

import kerasrec
from kerasrec.calibration import Calibration
from kerasrec.data.encoding.positive_ids import known_positives
from kerasrec.evaluation.columns import take_rows
from kerasrec.runs.best_epoch import BestEpoch
from kerasrec.runs.choosing.choices import choose
from kerasrec.runs.choosing.facts import check_ready
from kerasrec.runs.choosing.starting_biases import damped_biases
from kerasrec.runs.clicks.balance import Balance, check_balance
from kerasrec.runs.clicks.calibrate import check_calibration
from kerasrec.runs.optimizer import constrain, make_optimizer, penalize
from kerasrec.runs.settings import Training, choices_of
from kerasrec.runs.terminal import say
from kerasrec.runs.validation import validation_of
from kerasrec.schema import FIRST_ID
from kerasrec.types import (
    Autoencoder,
    Biased,
    GraphModel,
    ItemTableReader,
    MovingPrior,
    Retriever,
    SequenceModel,
    StepClassifier,
    TwoVectors,
    output_kind,
)

if TYPE_CHECKING:
    from kerasrec.data import PreparedData, PreparedExamples

# Datasets of columns. The second argument is None for training batches. For fixed validation
# batches it holds the training rows, which count as seen and come before in histories.
Batches = Callable[[Mapping[str, Any], Mapping[str, Any] | None], Any]
# From a model, the data and the choices: trainer, loss to compile with, batches.
Maker = Callable[[Any, "PreparedData", Training], tuple[Any, Any, Batches]]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Ingredients of one training, in the form that stock Keras takes them. See `recipe`.

    Args:
        training: all options, with those that the rules chose.
        trainer: model to compile and fit: the model itself, or a trainer that shares its weights.
        batches: training batches.
        valid: fixed validation batches; None if there is nothing to validate on.
        optimizer: optimizer with its schedule.
        loss: loss to compile with; None if the trainer has its own.
        callbacks: `TrainingDiagnostics`, `GradientMonitor` if norms are asked for, the validation
            with the measure of the evaluation, and at last `BestEpoch`.
    """

    training: Training
    trainer: Any
    batches: Any
    valid: Any
    optimizer: Any
    loss: Any
    callbacks: tuple[Any, ...]


class Kind(NamedTuple):
    """Purpose of a model, and its recipes by loss.

    Kinds with `histories` need them in the schema, and rows in order of time.
    """

    does: str
    histories: bool
    makers: Mapping[str, Maker]


def kind_of(model: Any) -> Kind:
    """Return what a model is trained for. This function alone chooses recipes.

    Args:
        model: the model. Of its class, all but the recipes by loss are known too.
    """
    kind = model if isinstance(model, type) else type(model)
    if issubclass(kind, StepClassifier):
        return Kind("predicts the label of each event", True, {"log_loss": _stepwise})
    if issubclass(kind, Autoencoder):
        return Kind("reconstructs the items of users", False, {"softmax": _profiles})
    if issubclass(kind, SequenceModel):
        next_item = {"softmax": _sequence, "binary_crossentropy": _sequence}
        return Kind("predicts the next item, not a label", True, next_item)
    if issubclass(kind, GraphModel):
        return Kind("ranks by vectors smoothed over a graph", False, {"softmax": _graph})
    retriever = isinstance(model, Retriever) and len(model.schema.item) == 1
    pairs = {
        "binary_crossentropy": _drawn_items,
        "softmax": _retrieval if retriever else _shared_items,
        "log_loss": _clicks,
        "mse": _ratings,
    }
    if issubclass(kind, TwoVectors):
        pairs["graph_crossentropy"] = _graph_constraint
    return Kind("scores pairs", bool(getattr(kind, "needs_history", False)), pairs)


def check_loss(model: Any, loss: str | None) -> None:
    """Check that a model, or models of a class, can be trained with a loss. None is any.

    Raises:
        ValueError: if the model has no recipe for the loss.
    """
    kind = kind_of(model)
    if loss is not None and loss not in kind.makers:
        name = model.__name__ if isinstance(model, type) else type(model).__name__
        raise ValueError(
            f"loss={loss!r}: {name} {kind.does}. Choose one of {', '.join(kind.makers)}."
        )


def recipe(
    model: Any, ready: "PreparedData", training: Training | None = None, **choices: Any
) -> Recipe:
    """Return trainer, batches, optimizer, loss and callbacks that suit what a model can do.

    `train` compiles and fits them. By hand it is the same:

        made = recipe(model, ready, epochs=3)
        made.trainer.compile(made.optimizer, made.loss, jit_compile=True)
        made.trainer.fit(made.batches, validation_data=made.valid, epochs=3,
                         callbacks=made.callbacks)

    Options that are not given are those of `choose`. Ratings start from the mean and from damped
    biases, if the model has such weights.

    Args:
        model: a fresh model with weights to train, made from the schema of the data.
        ready: the rows, from `kerasrec.data.prepare`.
        training: options in one object; None for the choice of the rules.
        **choices: single fields of `Training` instead, or to change in it.

    Raises:
        ValueError: if the model has no recipe for the loss or another schema, or a choice is
            invalid.
    """
    check_ready("recipe", ready)
    ready = ready.for_model(model)
    given = choices_of(training, choices)
    check_loss(model, given.loss)
    training = choose(model, ready, given).training
    check_calibration(model, ready, training)
    makers = kind_of(model).makers
    if isinstance(ready, kerasrec.data.PreparedExamples):
        makers = {"log_loss": _classes if ready.classes else _clicks, "mse": _ratings}
    if isinstance(model, ItemTableReader):
        model.set_items(ready.items)
    maker = makers[str(training.loss)]
    check_balance(model, training, by_rows=maker is _clicks)
    trainer, loss, batches = maker(model, ready, training)
    rows = batches(ready.train, None)
    constrain(model, training)
    penalize(model, training)
    replicas = model.distribute_strategy.num_replicas_in_sync
    # Label losses take any label. All other losses need a positive.
    labels = training.loss in ("mse", "log_loss")
    some = len(ready.split.valid) > 0 and (labels or ready.has_targets(ready.valid))
    watch, monitor, higher = validation_of(model, ready, training) if some else (None, "", False)
    callbacks: list[Any] = [kerasrec.callbacks.TrainingDiagnostics(batch_path=None)]
    if training.gradient_interval is not None:
        callbacks.append(kerasrec.callbacks.GradientMonitor(training.gradient_interval))
    if watch is not None:
        callbacks.append(watch)
    return Recipe(
        training,
        trainer,
        rows,
        batches(ready.valid, ready.train) if some else None,
        make_optimizer(training, steps=int(rows.cardinality()), replicas=replicas),
        loss,
        (*callbacks, BestEpoch(training.patience or 0, monitor, higher=higher)),
    )


def _ratings(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train on the squared error of the labels, from the mean and the biases of the rows."""
    if isinstance(model, Biased):
        model.set_biases(*damped_biases(ready))
    if output_kind(model) == "logit":
        model.predict_numbers()

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        options = _options(training, seen)
        return kerasrec.data.pointwise(columns, ready.schema, **options)

    return model, keras.losses.MeanSquaredError(), batches


def _clicks(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train on whether each row is a positive, without drawn items."""
    balance = Balance.of(training, ready.positives(ready.train))
    if output_kind(model) != "logits":
        model.calibrate(balance.correction)

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        labels = ready.positives(columns)
        weights, options = balance.batch_options(labels, training=seen is None)
        rows = {**columns, **weights, ready.schema.label: labels}
        return kerasrec.data.pointwise(rows, ready.schema, **_options(training, seen), **options)

    return model, balance.loss, batches


def _classes(model: Any, ready: "PreparedExamples", training: Training) -> tuple[Any, Any, Batches]:
    """Train on the class of each row."""

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        return kerasrec.data.pointwise(columns, ready.schema, **_options(training, seen))

    return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True), batches


def _drawn_items(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train each positive against items drawn for it."""

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        options = _options(training, seen) | _negatives(training)
        if seen is not None and training.valid_negatives is not None:
            options["negatives"] = training.valid_negatives
        options["items"] = ready.items
        columns = _with_items_left(columns, seen, ready)
        rows = kerasrec.data.with_negatives(columns, ready.schema, seen=seen, **options)
        return rows if seen is None else rows.cache()

    return model, _crossentropy(), batches


def _with_items_left(
    columns: Mapping[str, Any], seen: Mapping[str, Any] | None, ready: "PreparedData"
) -> Mapping[str, Any]:
    """Leave out the rows of users who have had all items, so that none is left to draw for them."""
    user, item = ready.schema.user_id.name, ready.schema.item_id
    parts = [columns] if seen is None else [columns, seen]
    users, items = (np.concatenate([part[name] for part in parts]) for name in (user, item.name))
    known, count = items >= FIRST_ID, item.num_ids - FIRST_ID
    full = np.bincount(users[known], minlength=ready.schema.user_id.num_ids) >= count
    full[:FIRST_ID] = False  # unknown users are many
    known &= full[users]  # so that few pairs are compared
    pairs = np.unique(np.stack([users[known], items[known]]), axis=1)
    full &= np.bincount(pairs[0], minlength=len(full)) >= count
    kept = ~full[columns[user]]
    if kept.all() or not kept.any():  # without any row, what draws refuses
        return columns
    if seen is None:  # rows of validation alone decide little
        say(f"{int(full.sum()):,} users have had all {count:,} items: their rows are left out.")
    return {name: take_rows(values, np.flatnonzero(kept)) for name, values in columns.items()}


def _shared_items(
    model: Any, ready: "PreparedData", training: Training
) -> tuple[Any, Any, Batches]:
    """Train each positive by a softmax over items that its batch shares, pair by pair."""

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        options = _options(training, seen) | _negatives(training) | {"items": ready.items}
        if seen is None:
            return kerasrec.data.shared_negatives(columns, ready.schema, **options)
        columns = _with_items_left(columns, seen, ready)
        return kerasrec.data.shared_negatives(
            columns, ready.schema, seen=seen, allow_seen=False, **options
        ).cache()

    return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True), batches


def _retrieval(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train a retriever by the same softmax, whose scores are one matrix product."""
    # The trainer draws items by itself, which are never the unknown one.
    drawn = _negatives(training)
    # Few items stand for all, as the ranking is over all of them.
    trainer = kerasrec.training.SampledSoftmaxTrainer(
        model, sampling_correction=True, seed=training.seed, **drawn
    )
    return _own(trainer, ready, training)


def _graph(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train a model of the graph of the training rows by the same softmax."""
    model.adapt(ready.train)
    trainer = kerasrec.training.GraphSoftmaxTrainer(
        model, sampling_correction=True, seed=training.seed, **_negatives(training)
    )
    return _own(trainer, ready, training)


def _graph_constraint(
    model: Any, ready: "PreparedData", training: Training
) -> tuple[Any, Any, Batches]:
    """Train a retriever with the weights that a graph gives to pairs and to similar items."""
    trainer = kerasrec.training.GraphCrossentropyTrainer(
        model, seed=training.seed, **_negatives(training)
    )
    trainer.adapt(ready.train)
    return _own(trainer, ready, training)


def _profiles(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train an autoencoder on the items of one user per row, while its penalty rises."""
    users = np.unique(known_positives("recipe", ready.schema, ready.train)[0])
    steps = int(training.epochs or 1) * -(-len(users) // int(training.batch_size or 1))
    # A prior that moves with the model needs no annealing.
    steps = 0 if isinstance(model, MovingPrior) else steps
    trainer = kerasrec.training.AutoencoderTrainer(model, anneal_steps=steps)
    return _own(trainer, ready, training)


def _sequence(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train a model of histories to predict the next item after each row."""
    drawn = _negatives(training) if training.negatives else {}  # of all items, with 0
    loss = "bce" if training.loss == "binary_crossentropy" else "softmax"
    if loss == "softmax" and drawn:
        loss = "sampled_softmax"
    trainer = kerasrec.training.NextItemTrainer(model, loss=loss, seed=training.seed, **drawn)
    return _own(trainer, ready, training)


def _stepwise(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train a classifier of histories on the label of each event after the first."""
    schema = ready.schema
    if model.num_classes is None and ready.positives(ready.train).all():
        raise ValueError(
            f"recipe: all training rows have a {schema.label!r} {schema.positive}, so there is "
            "nothing to learn. Choose which labels are positives, such as positive='>=4'."
        )
    if model.num_classes is None:
        model.calibrate(Calibration())
    return _own(kerasrec.training.StepwiseTrainer(model), ready, training)


def _own(trainer: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Return a trainer, which has its own loss, and the batches that it takes."""
    options: dict[str, Any] = {"batch_size": training.batch_size, "seed": training.seed}
    options["time"] = ready.split.train.time
    return trainer, None, lambda columns, seen: trainer.batches(columns, seen=seen, **options)


def _options(training: Training, seen: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of batches of pairs, where validation batches are always the same."""
    return {
        "batch_size": training.batch_size,
        "seed": training.seed,
        "shuffle": seen is None,
        "unknown_share": training.unknown_share if seen is None else 0.0,
    }


def _negatives(training: Training) -> dict[str, Any]:
    """Return the number of drawn items, if it is not left to what draws them."""
    return {} if training.negatives is None else {"negatives": training.negatives}


def _crossentropy() -> Any:
    return keras.losses.BinaryCrossentropy(from_logits=True)

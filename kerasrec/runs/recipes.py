"""Recipes: what a model is trained with, by what it can do and by the loss that is asked for."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

import kerasrec
from kerasrec.runs.best_epoch import BestEpoch
from kerasrec.runs.settings import Training, choices_of
from kerasrec.types import Retriever, SequenceModel, StepClassifier

if TYPE_CHECKING:
    from kerasrec.data import PreparedData

# Datasets of columns. The second argument is None for training batches. For fixed validation
# batches it holds the training rows, which count as seen and come before in histories.
Batches = Callable[[Mapping[str, Any], Mapping[str, Any] | None], Any]
# From a model, the data and the choices: trainer, loss to compile with, batches.
Maker = Callable[[Any, "PreparedData", Training], tuple[Any, Any, Batches]]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Ingredients of one training, in the form that stock Keras takes them. See `recipe`.

    Args:
        training: the choices, with the defaults of this kind of model filled in.
        trainer: model to compile and fit: the model itself, or a trainer that shares its weights.
        batches: training batches.
        valid: fixed validation batches; None if there is nothing to validate on.
        optimizer: optimizer with its schedule.
        loss: loss to compile with; None if the trainer has its own.
        callbacks: `TrainingDiagnostics`, `GradientMonitor` if norms are asked for, and at last
            `BestEpoch`.
    """

    training: Training
    trainer: Any
    batches: Any
    valid: Any
    optimizer: Any
    loss: Any
    callbacks: tuple[Any, ...]


class Kind(NamedTuple):
    """Purpose of a model, its default batch size, and its recipes by loss, the default first.

    Kinds with `histories` need them in the schema, and rows in order of time.
    """

    does: str
    batch_size: int
    histories: bool
    makers: Mapping[str, Maker]


def kind_of(model: Any) -> Kind:
    """Return what a model is trained for. This function alone chooses recipes.

    Args:
        model: the model. Of its class, all but the recipes by loss are known too.
    """
    kind = model if isinstance(model, type) else type(model)
    if issubclass(kind, StepClassifier):
        return Kind("predicts the label of each event", 32, True, {"log_loss": _stepwise})
    if issubclass(kind, SequenceModel):
        next_item = {"softmax": _sequence, "binary_crossentropy": _sequence}
        return Kind("predicts the next item, not a label", 32, True, next_item)
    retriever = isinstance(model, Retriever) and len(model.schema.item) == 1
    pairs = {
        "binary_crossentropy": _drawn_items,
        "softmax": _retrieval if retriever else _shared_items,
        "log_loss": _clicks,
        "mse": _ratings,
    }
    return Kind("scores pairs", 4096, False, pairs)


def with_defaults(model: Any, training: Training) -> Training:
    """Return the choices with the defaults that None stands for.

    Raises:
        ValueError: if the model has no recipe for the loss.
    """
    kind = kind_of(model)
    loss: Any = training.loss or next(iter(kind.makers))
    if loss not in kind.makers:
        name = model.__name__ if isinstance(model, type) else type(model).__name__
        raise ValueError(
            f"loss={loss!r}: {name} {kind.does}. Choose one of {', '.join(kind.makers)}."
        )
    size = kind.batch_size if training.batch_size is None else training.batch_size
    return dataclasses.replace(training, loss=loss, batch_size=size)


def check_ready(owner: str, ready: Any) -> None:
    """Check that rows have been prepared.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(ready, kerasrec.data.PreparedData):
        raise ValueError(
            f"{owner}: ready must be what kerasrec.data.prepare(split) returns; received "
            f"{type(ready).__name__}. Prepare the rows first."
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

    Args:
        model: a fresh model with weights to train, made from the schema of the data.
        ready: the rows, from `kerasrec.data.prepare`.
        training: all choices in one object; None for the defaults.
        **choices: single fields of `Training` instead, or to change in it.

    Raises:
        ValueError: if the model has no recipe for the loss or another schema, or a choice is
            invalid.
    """
    training = with_defaults(model, choices_of(training, choices))
    check_ready("recipe", ready)
    ready = ready.for_model(model)
    trainer, loss, batches = kind_of(model).makers[str(training.loss)](model, ready, training)
    rows = batches(ready.train, None)
    # Label losses take any label. All other losses need a positive.
    labels = training.loss in ("mse", "log_loss")
    some = len(ready.split.valid) > 0 and (labels or ready.has_targets(ready.valid))
    callbacks: list[Any] = [kerasrec.callbacks.TrainingDiagnostics(batch_path=None)]
    if training.gradient_interval is not None:
        callbacks.append(kerasrec.callbacks.GradientMonitor(training.gradient_interval))
    return Recipe(
        training,
        trainer,
        rows,
        batches(ready.valid, ready.train) if some else None,
        _optimizer(training, steps=int(rows.cardinality())),
        loss,
        (*callbacks, BestEpoch(training.patience)),
    )


def _ratings(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train on the squared error of the labels."""

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        options = _options(training, seen)
        return kerasrec.data.pointwise(columns, ready.schema, **options)

    return model, keras.losses.MeanSquaredError(), batches


def _clicks(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train on whether each row is a positive, without drawn items."""

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        labels = {**columns, ready.schema.label: ready.positives(columns)}
        return kerasrec.data.pointwise(labels, ready.schema, **_options(training, seen))

    return model, _crossentropy(), batches


def _drawn_items(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train each positive against items drawn for it."""

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        options = _options(training, seen) | _negatives(training)
        if seen is not None and training.valid_negatives is not None:
            options["negatives"] = training.valid_negatives
        options["items"] = ready.items
        rows = kerasrec.data.with_negatives(columns, ready.schema, seen=seen, **options)
        return rows if seen is None else rows.cache()

    return model, _crossentropy(), batches


def _shared_items(
    model: Any, ready: "PreparedData", training: Training
) -> tuple[Any, Any, Batches]:
    """Train each positive by a softmax over items that its batch shares, pair by pair."""

    def batches(columns: Mapping[str, Any], seen: Mapping[str, Any] | None) -> Any:
        options = _options(training, seen) | _negatives(training) | {"items": ready.items}
        if seen is None:
            return kerasrec.data.shared_negatives(columns, ready.schema, **options)
        return kerasrec.data.shared_negatives(
            columns, ready.schema, seen=seen, allow_seen=False, **options
        ).cache()

    return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True), batches


def _retrieval(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train a retriever by the same softmax, whose scores are one matrix product."""
    # The trainer draws items by itself, which are never the unknown one.
    drawn = _negatives(training)
    trainer = kerasrec.training.SampledSoftmaxTrainer(model, seed=training.seed, **drawn)
    return _own(trainer, ready, training)


def _sequence(model: Any, ready: "PreparedData", training: Training) -> tuple[Any, Any, Batches]:
    """Train a model of histories to predict the next item after each row."""
    drawn = _negatives(training)
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


def _optimizer(training: Training, *, steps: int) -> Any:
    """Return the optimizer of this name, from kerasrec if it has one, else from Keras."""
    named = {name: getattr(kerasrec.optimizers, name) for name in kerasrec.optimizers.__all__}
    kinds = {
        name.lower(): kind
        for name, kind in {**vars(keras.optimizers), **named}.items()
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    }
    del kinds["optimizer"]
    if training.optimizer.lower() not in kinds:
        raise ValueError(
            f"optimizer={training.optimizer!r}: neither kerasrec nor Keras has this optimizer; "
            f"expected one of {sorted(kinds)}."
        )
    learning_rate: Any = training.learning_rate
    if training.decay_rate:
        learning_rate = kerasrec.optimizers.inverse_time_decay(
            training.learning_rate,
            examples=steps,
            batch_size=1,
            epochs=training.epochs,
            decay_rate=training.decay_rate,
            verbose=0,
        )
    return kinds[training.optimizer.lower()](
        learning_rate, clipnorm=training.clipnorm, clipvalue=training.clipvalue
    )

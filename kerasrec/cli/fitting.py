"""`kerasrec fit`: read, split, encode, train, evaluate, write a run directory."""

import dataclasses
import time
from typing import Any, Literal

import numpy as np

import kerasrec
from kerasrec.cli.output import Report
from kerasrec.cli.preparing import Prepared, prepare
from kerasrec.cli.quiet import import_tensorflow
from kerasrec.cli.records import record, with_findings
from kerasrec.cli.runs import new_directory, write_run
from kerasrec.cli.settings import Source, Splitting, Training
from kerasrec.cli.terminal import say, step


def fit(
    model: str,
    hyperparameters: dict[str, Any],
    source: Source,
    splitting: Splitting,
    training: Training,
    *,
    output: str,
) -> Report:
    """Train a model and write a run directory.

    Args:
        model: name of a model.
        hyperparameters: arguments of its constructor beside the schema.
        source: what to read.
        splitting: what to hold out.
        training: how to train.
        output: the run directory, which must not exist.

    Raises:
        ValueError: if the directory exists, or a flag or the data are refused.
    """
    directory = new_directory(output)
    with step(f"Reading {source.data}"):
        prepared = prepare(source, splitting, seed=training.seed)
    say(prepared.split.describe())
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(training.seed)
    kind = getattr(kerasrec.models, model)
    if hasattr(kind, "step_logits"):
        raise ValueError(
            f"{model} learns labels of events, which the command line does not read. Train it in "
            f"Python: kerasrec.training.EveryStep(model) on kerasrec.data.next_labels(...)."
        )
    reads_histories = hasattr(kind, "states")
    training = _resolved(training, reads_histories)
    if reads_histories:
        if splitting.split == "random":
            raise ValueError(
                f"--split random: {model} learns from the order of the rows, which random rows do "
                "not leave. Choose leave_last_out, temporal or time."
            )
        prepared = prepared.with_histories(training.max_length)
    recommender = kind(prepared.schema, **hyperparameters)
    start = time.perf_counter()
    history = train(recommender, prepared, training)
    seconds = time.perf_counter() - start
    ratings = model if training.loss == "mse" and history else None
    with step("Ranking the test rows"):
        compared = _beside_popularity(model, recommender, prepared)
        records = record(compared, prepared, ratings=ratings)
    records.about["seconds"]["training"] = seconds
    findings = records.about["findings"]
    flags = {"model": model, **hyperparameters}
    for settings in (source, splitting, training):
        flags |= dataclasses.asdict(settings)
    write_run(
        directory,
        recommender,
        prepared.vocabularies,
        flags=flags,
        split=prepared.fingerprint(),
        history=history,
        records=records,
    )
    text = with_findings(kerasrec.evaluation.format_table(records.metrics), findings)
    document = {
        "run": directory,
        "rows": {name: part["rows"] for name, part in prepared.fingerprint().items()},
        "epochs": len(history.get("loss", ())),
        "seconds": records.about["seconds"],
        "metrics": records.metrics,
        "findings": findings,
    }
    following = f"Written to {directory}. Next: kerasrec recommend {directory} --user ID"
    return Report(document, f"{text}\n{following}")


def _resolved(training: Training, reads_histories: bool) -> Training:
    """The flags, with what null stands for."""
    loss: Literal["softmax", "binary_crossentropy"]
    loss = "softmax" if reads_histories else "binary_crossentropy"
    batch_size = 32 if reads_histories else 4096
    return dataclasses.replace(
        training,
        loss=training.loss or loss,
        batch_size=batch_size if training.batch_size is None else training.batch_size,
    )


def _beside_popularity(name: str, model: Any, prepared: Prepared) -> dict[str, Any]:
    """The models whose figures a run holds, popularity of the training rows first."""
    if name.casefold() == "popularity":
        return {name: model}
    popularity = kerasrec.models.Popularity(prepared.schema)
    popularity.adapt(prepared.train)  # the rows that the model learned from
    return {"popularity": popularity, name: model}


def train(model: Any, prepared: Prepared, training: Training) -> dict[str, list[float]]:
    """Compiles and fits, or counts where there is nothing to train.

    Args:
        model: a fresh `Recommender`.
        prepared: the rows.
        training: how to train.

    Returns:
        Losses by epoch.

    Raises:
        ValueError: if a flag is refused.
    """
    import keras

    from kerasrec.cli.epochs import Epochs

    if not model.trainable_weights:
        model.adapt(prepared.train)
        say(f"{model.name} counts rows; there are no weights to train.")
        return {}
    rows = _batches(model, prepared.train, prepared, training)
    valid = None
    callbacks: list[keras.callbacks.Callback] = [Epochs(training.epochs)]
    if training.gradient_interval is not None:
        callbacks.append(kerasrec.callbacks.GradientMonitor(training.gradient_interval))
    if len(prepared.split.valid):
        valid = _batches(model, prepared.valid, prepared, training, seen=prepared.train)
        stopping = keras.callbacks.EarlyStopping(
            patience=training.patience, restore_best_weights=True
        )
        callbacks.append(stopping)
    else:
        say("No validation rows: training runs for all epochs.")
    fitted, loss = _with_loss(model, training)
    fitted.compile(
        optimizer=_optimizer(training, steps=int(rows.cardinality())),
        loss=loss,
        jit_compile=training.jit_compile,
    )
    # The batches are shuffled already.
    history = fitted.fit(
        rows,
        validation_data=valid,
        epochs=training.epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    return {name: [float(value) for value in values] for name, values in history.history.items()}


def _shares_products(model: Any, training: Training) -> bool:
    """Whether the softmax is over one matrix product of the batch with the items it shares."""
    retriever = isinstance(model, kerasrec.types.Retriever) and len(model.schema.item) == 1
    return training.loss == "softmax" and retriever


def _with_loss(model: Any, training: Training) -> tuple[Any, Any]:
    """What is compiled and fitted, and its loss: a retriever's softmax has a wrapper around it."""
    import keras

    if hasattr(model, "states"):
        return _next_item(model, training), None
    if _shares_products(model, training):
        drawn = {} if training.negatives is None else {"negatives": training.negatives}
        model = kerasrec.retrieval.SampledSoftmax(model, seed=training.seed, **drawn)
        return model, keras.losses.BinaryCrossentropy(from_logits=True)
    return model, {
        "softmax": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "binary_crossentropy": keras.losses.BinaryCrossentropy(from_logits=True),
        "mse": keras.losses.MeanSquaredError(),
    }[str(training.loss)]


def _next_item(model: Any, training: Training) -> Any:
    """The wrapper that trains a model of histories."""
    if training.loss == "mse":
        raise ValueError(
            f"--loss mse: {type(model).__name__} tells the next item, not a rating. Choose softmax "
            "or binary_crossentropy."
        )
    drawn = {} if training.negatives is None else {"negatives": training.negatives}
    loss = "bce" if training.loss == "binary_crossentropy" else "softmax"
    if loss == "softmax" and drawn:
        loss = "sampled_softmax"
    return kerasrec.retrieval.NextItem(model, loss=loss, seed=training.seed, **drawn)


def _next_items(
    columns: dict[str, np.ndarray],
    prepared: Prepared,
    training: Training,
    seen: dict[str, np.ndarray] | None,
) -> Any:
    """The next item after each training row; or the newest validation row of each user."""
    options: dict[str, Any] = {
        "batch_size": training.batch_size, "time": prepared.split.train.time,
    }  # fmt: skip
    if seen is None:
        return kerasrec.data.next_items(
            columns, prepared.schema, windows="all", seed=training.seed, **options
        )
    user = prepared.schema.user_id.name
    theirs = np.isin(seen[user], columns[user])
    rows = {name: np.concatenate([seen[name][theirs], columns[name]]) for name in seen}
    return kerasrec.data.next_items(
        rows, prepared.schema, targets="last", shuffle=False, **options
    ).cache()


def _batches(
    model: Any,
    columns: dict[str, np.ndarray],
    prepared: Prepared,
    training: Training,
    *,
    seen: dict[str, np.ndarray] | None = None,
) -> Any:
    """Training rows, or with `seen` (the training rows) validation rows that stay the same.

    Negatives come with the rows; a `SampledSoftmax` draws its own, seen items among them.
    """
    if hasattr(model, "states"):
        return _next_items(columns, prepared, training, seen)
    shared: dict[str, Any] = {
        "batch_size": training.batch_size,
        "seed": training.seed,
        "shuffle": seen is None,
    }
    if training.loss == "mse":
        return kerasrec.data.pointwise(columns, prepared.schema, **shared)
    if _shares_products(model, training):
        label = prepared.schema.label
        ones = np.ones(len(columns[prepared.schema.item_id.name]), np.float32)
        return kerasrec.data.pointwise({**columns, label: ones}, prepared.schema, **shared)
    if training.negatives is not None:
        shared["negatives"] = training.negatives
    if training.loss == "binary_crossentropy":
        rows = kerasrec.data.with_negatives(columns, prepared.schema, seen=seen, **shared)
    elif seen is None:
        rows = kerasrec.data.shared_negatives(columns, prepared.schema, **shared)
    else:
        rows = kerasrec.data.shared_negatives(
            columns, prepared.schema, seen=seen, allow_seen=False, **shared
        )
    return rows if seen is None else rows.cache()


def _optimizer(training: Training, *, steps: int) -> Any:
    import keras

    kinds = {
        name.lower(): kind
        for name, kind in vars(keras.optimizers).items()
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    }
    del kinds["optimizer"]
    if training.optimizer.lower() not in kinds:
        raise ValueError(
            f"--optimizer {training.optimizer}: there is no such Keras optimizer; expected one of "
            f"{sorted(kinds)}."
        )
    learning_rate: Any = training.learning_rate
    if training.decay_rate:
        learning_rate = kerasrec.optimizers.inverse_time_decay(
            training.learning_rate,
            examples=steps,
            batch_size=1,
            epochs=training.epochs,
            decay_rate=training.decay_rate,
        )
    return kinds[training.optimizer.lower()](
        learning_rate, clipnorm=training.clipnorm, clipvalue=training.clipvalue
    )

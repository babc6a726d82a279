"""`kerasrec fit`: read, split, encode, train, evaluate, write a run directory."""

import contextlib
import dataclasses
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import kerasrec
from kerasrec.cli.output import Report
from kerasrec.cli.preparing import describe_positives, prepare
from kerasrec.cli.quiet import import_tensorflow
from kerasrec.cli.settings import Source, Splitting
from kerasrec.cli.terminal import step
from kerasrec.runs.directory import write_run
from kerasrec.runs.recipes import shares_products, training_batches
from kerasrec.runs.records import record, with_findings
from kerasrec.runs.settings import Training
from kerasrec.runs.terminal import say
from kerasrec.runs.unfinished import begin, give_up, remember_rows

if TYPE_CHECKING:  # at run time, only what uses it pays for its import
    from kerasrec.data import PreparedData
    from kerasrec.datasets import Dataset


@dataclasses.dataclass(frozen=True)
class Trained:
    """Result of a training, whose model has the weights of its best epoch.

    Args:
        history: losses by epoch.
        epochs: epochs after which the model's weights were taken.
        problem: why training ended early, if it did.
        diverged: whether a loss or a weight was not finite.
    """

    history: dict[str, list[float]]
    epochs: int = 0
    problem: str | None = None
    diverged: bool = False


def fit(
    model: str,
    hyperparameters: dict[str, Any],
    source: Source,
    splitting: Splitting,
    training: Training,
    *,
    output: str,
    resume: bool = False,
    refit: bool = False,
) -> Report:
    """Train a model and write a run directory.

    Args:
        model: name of a model.
        hyperparameters: arguments of its constructor besides the schema.
        source: data to read.
        splitting: rows to hold out.
        training: training options.
        output: the run directory, which must not exist.
        resume: continue an unfinished training of this output, if there is one.
        refit: train again on all rows, for the epochs found on the validation rows. The figures
            are those of the first model.

    Raises:
        ValueError: if the directory exists, a flag or the data are invalid, or the loss is not
            finite before the end of an epoch.
    """
    if Path(source.data).is_file():  # so that the run finds it from anywhere
        source = dataclasses.replace(source, data=str(Path(source.data).resolve()))
    flags = {"model": model, **hyperparameters, "refit": refit}
    for settings in (source, splitting, training):
        flags |= dataclasses.asdict(settings)
    if refit and splitting.valid == 0 == splitting.test:
        raise ValueError(
            "--refit: with --valid 0 --test 0 all rows are training rows already. Leave it out."
        )
    folder = begin(output, flags, resume=resume)
    try:
        report = _fit(flags, (source, splitting, training), folder, Path(output))
    except BaseException:
        give_up(folder)
        if folder.exists():
            say(f"The training so far is in {folder}. Continue with --resume.")
        raise
    shutil.rmtree(folder)
    return report


def _fit(
    flags: dict[str, Any],
    settings: tuple[Source, Splitting, Training],
    folder: Path,
    directory: Path,
) -> Report:
    """Run the training between creating its folder and removing it."""
    source, splitting, training = settings
    with step(f"Reading {source.data}"):
        dataset, ready = prepare(source, splitting, seed=training.seed)
    fingerprint = ready.fingerprint()
    remember_rows(folder, fingerprint)
    say(ready.split.describe())
    if line := describe_positives(dataset.interactions, ready.schema):
        say(line)
    ready.check_positives()
    import_tensorflow()
    name = flags["model"]
    kind, training = _kind(name, splitting, training)
    if hasattr(kind, "states"):
        ready = ready.with_history(training.max_length)
    hyperparameters = {n: v for n, v in flags.items() if n not in _SETTINGS}
    start = time.perf_counter()
    recommender = _made(kind, ready, hyperparameters, training)
    trained = train(recommender, ready, training, folder)
    seconds = {"training": time.perf_counter() - start}
    learned = str(training.loss) if trained.history else ""
    with step("Ranking the test rows"):
        compared = _beside_popularity(name, recommender, ready)
        records = record(compared, ready, dataset, losses={name: learned})
    if trained.problem is not None:
        records.about["findings"].append(trained.problem)
    served = ready
    if flags["refit"]:
        start = time.perf_counter()
        served, recommender, note = _refitted(
            kind, ready, dataset, hyperparameters, training, trained.epochs, folder
        )
        seconds["refit"] = time.perf_counter() - start
        records.about["notes"].append(note)
    records.about["seconds"] |= seconds
    write_run(
        directory,
        recommender,
        served.vocabularies,
        flags={**flags, **dataclasses.asdict(training)},
        split=fingerprint,
        history=trained.history,
        records=records,
        seen=served.seen(),
    )
    findings = records.about["findings"]
    document = {
        "run": directory,
        "rows": {name: part["rows"] for name, part in fingerprint.items()},
        "epochs": len(trained.history.get("loss", ())),
        "seconds": records.about["seconds"],
        "metrics": records.metrics,
        "findings": findings,
    }
    figures = "No test rows: nothing was ranked."
    if records.metrics:
        figures = kerasrec.evaluation.format_table(records.metrics)
    following = f"Written to {directory}. Next: kerasrec recommend {directory} --user ID"
    text = f"{with_findings(figures, findings)}\n{following}"
    return Report(document, text, code=1 if trained.diverged else 0)


_SETTINGS = {"model", "refit"} | {
    field.name for kind in (Source, Splitting, Training) for field in dataclasses.fields(kind)
}


def _kind(name: str, splitting: Splitting, training: Training) -> tuple[Any, Training]:
    """Return the model class, and the flags with defaults filled in."""
    kind = getattr(kerasrec.models, name)
    if hasattr(kind, "step_logits"):
        raise ValueError(
            f"{name} learns labels of events, which the command line does not read. Train it in "
            f"Python: kerasrec.training.EveryStep(model) on kerasrec.data.next_labels(...)."
        )
    reads_histories = hasattr(kind, "states")
    if reads_histories and splitting.split == "random":
        raise ValueError(
            f"--split random: {name} learns from the order of the rows, which a random split does "
            "not keep. Choose leave_last_out, temporal or time."
        )
    return kind, _resolved(training, reads_histories)


def _made(
    kind: Any, ready: "PreparedData", hyperparameters: dict[str, Any], training: Training
) -> Any:
    """Build a fresh model, the same for the same seed."""
    import keras

    keras.utils.set_random_seed(training.seed)
    return kind(ready.schema, **hyperparameters)


def _refitted(
    kind: Any,
    ready: "PreparedData",
    dataset: "Dataset",
    hyperparameters: dict[str, Any],
    training: Training,
    epochs: int,
    folder: Path,
) -> "tuple[PreparedData, Any, str]":
    """Train a new model on all rows for the epochs found. Return a note about it too."""
    whole = kerasrec.data.prepare(
        dataset.interactions, positive=ready.schema.positive, min_count=ready.min_count
    )
    if hasattr(kind, "states"):
        whole = whole.with_history(training.max_length)
    rows = len(whole.split.train)
    say(f"Training again on all {rows:,} rows, for {epochs} epochs.")
    model = _made(kind, whole, hyperparameters, training)
    again = train(model, whole, training, folder, epochs=epochs)
    if again.problem is not None:
        raise ValueError(
            f"--refit: {again.problem} No run was written, since its model would not be trained on "
            "all rows as requested. Continue with --resume, or leave --refit out."
        )
    return (
        whole,
        model,
        (
            f"The model in the run was trained again on all {rows:,} rows for {epochs} epochs "
            "(--refit); the figures are those of the first model, without the held-out rows."
        ),
    )


def _resolved(training: Training, reads_histories: bool) -> Training:
    """Return the flags with the defaults that null stands for."""
    loss: Literal["softmax", "binary_crossentropy"]
    loss = "softmax" if reads_histories else "binary_crossentropy"
    batch_size = 32 if reads_histories else 4096
    return dataclasses.replace(
        training,
        loss=training.loss or loss,
        batch_size=batch_size if training.batch_size is None else training.batch_size,
    )


def _beside_popularity(name: str, model: Any, ready: "PreparedData") -> dict[str, Any]:
    """Return the models a run reports on, popularity of the training rows first."""
    if name.casefold() == "popularity":
        return {name: model}
    popularity = kerasrec.models.Popularity(ready.schema)
    popularity.adapt(ready.train)  # the rows that the model learned from
    return {"popularity": popularity, name: model}


def train(
    model: Any,
    ready: "PreparedData",
    training: Training,
    folder: Path,
    *,
    epochs: int | None = None,
) -> Trained:
    """Compile and fit, or count rows if there is nothing to train.

    Ctrl-C and a non-finite loss end the training. The best epoch so far is kept.

    Args:
        model: a fresh `Recommender`.
        ready: the rows.
        training: training options.
        folder: where the state is saved, to continue from it.
        epochs: number of epochs of a training on all rows. None for the flags' epochs and patience.

    Raises:
        KeyboardInterrupt: if there is no epoch to keep.
        ValueError: if a flag is invalid, or the loss is not finite in the first epoch.
    """
    from kerasrec.runs.checkpoint import Checkpoint
    from kerasrec.runs.epochs import Epochs

    if not model.trainable_weights:
        model.adapt(ready.train)
        say(f"{type(model).__name__} counts rows; there are no weights to train.")
        return Trained({})
    rows = training_batches(model, ready.train, ready, training)
    valid = None
    # Label losses take any label. All other losses need a positive.
    by_label = training.loss in ("mse", "log_loss")
    if len(ready.split.valid) and (by_label or ready.has_targets(ready.valid)):
        valid = training_batches(model, ready.valid, ready, training, seen=ready.train)
    elif epochs is None:
        positive = "positive " if len(ready.split.valid) else ""
        say(f"No {positive}validation rows: training runs for all epochs.")
    doctor = kerasrec.callbacks.Doctor(batch_path=None)
    kept = Checkpoint(
        folder, rows, patience=training.patience, name="state" if epochs is None else "refit"
    )
    callbacks: list[Any] = [Epochs(epochs or training.epochs), doctor]
    if training.gradient_interval is not None:
        callbacks.append(kerasrec.callbacks.GradientMonitor(training.gradient_interval))
    callbacks.append(kept)
    fitted, loss = _with_loss(model, training)
    fitted.compile(
        optimizer=_optimizer(training, steps=int(rows.cardinality())),
        loss=loss,
        jit_compile=training.jit_compile,
    )
    kerasrec.training.keep_freed_memory()
    interrupted = False
    with _said_warnings():
        try:
            fitted.fit(
                rows,
                validation_data=valid,
                epochs=epochs or training.epochs,
                callbacks=callbacks,
                shuffle=False,  # the batches are shuffled already
                verbose=0,
            )
        except KeyboardInterrupt:
            if kept.best_epoch is None:
                raise
            interrupted = True
            for callback in callbacks:  # Keras does not end them
                callback.on_train_end()
    return _outcome(kept, doctor.diagnosis, interrupted)


def _outcome(kept: Any, diagnosis: str | None, interrupted: bool) -> Trained:
    """Return the result of a training."""
    if diagnosis is not None and kept.best_epoch is None:
        raise ValueError(
            f"{diagnosis.splitlines()[0]} No earlier epoch had a finite loss, so no run was "
            "written."
        )
    problem, epochs = None, kept.best_epoch + 1
    if diagnosis is not None:
        problem = f"{diagnosis.splitlines()[0]} The weights after epoch {epochs} are kept."
    elif interrupted:
        done = len(kept.history["loss"])
        problem = f"Training was interrupted after epoch {done}. Epoch {epochs} is kept."
    if problem:
        say(problem)
    return Trained(kept.history, epochs, problem, diverged=diagnosis is not None)


@contextlib.contextmanager
def _said_warnings() -> Iterator[None]:
    """Print training warnings as lines of the command line."""
    diagnosed = contextlib.redirect_stdout(sys.stderr)  # only results go to stdout
    with warnings.catch_warnings(record=True) as found, diagnosed:
        warnings.filterwarnings("always", message="Doctor:")
        yield
    for warning in found:
        say(f"Warning: {warning.message}")


def _with_loss(model: Any, training: Training) -> tuple[Any, Any]:
    """Return the model to compile, in a wrapper for a retriever's softmax, and its loss."""
    import keras

    if hasattr(model, "states"):
        return _next_item(model, training), None
    if shares_products(model, training):
        drawn = {} if training.negatives is None else {"negatives": training.negatives}
        model = kerasrec.retrieval.SampledSoftmax(model, seed=training.seed, **drawn)
        return model, keras.losses.BinaryCrossentropy(from_logits=True)
    return model, {
        "softmax": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "binary_crossentropy": keras.losses.BinaryCrossentropy(from_logits=True),
        "log_loss": keras.losses.BinaryCrossentropy(from_logits=True),
        "mse": keras.losses.MeanSquaredError(),
    }[str(training.loss)]


def _next_item(model: Any, training: Training) -> Any:
    """Wrap a model of histories for next-item training."""
    if training.loss in ("mse", "log_loss"):
        raise ValueError(
            f"--loss {training.loss}: {type(model).__name__} predicts the next item, not a label. "
            "Choose softmax or binary_crossentropy."
        )
    drawn = {} if training.negatives is None else {"negatives": training.negatives}
    loss = "bce" if training.loss == "binary_crossentropy" else "softmax"
    if loss == "softmax" and drawn:
        loss = "sampled_softmax"
    return kerasrec.retrieval.NextItem(model, loss=loss, seed=training.seed, **drawn)


def _optimizer(training: Training, *, steps: int) -> Any:
    """Return the optimizer of this name, from kerasrec if it has one, else from Keras."""
    import keras

    named = {name: getattr(kerasrec.optimizers, name) for name in kerasrec.optimizers.__all__}
    kinds = {
        name.lower(): kind
        for name, kind in {**vars(keras.optimizers), **named}.items()
        if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
    }
    del kinds["optimizer"]
    if training.optimizer.lower() not in kinds:
        raise ValueError(
            f"--optimizer {training.optimizer}: neither kerasrec nor Keras has this optimizer; "
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
        )
    return kinds[training.optimizer.lower()](
        learning_rate, clipnorm=training.clipnorm, clipvalue=training.clipvalue
    )

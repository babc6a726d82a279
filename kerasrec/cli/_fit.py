"""`kerasrec fit`: read, split, encode, train, evaluate, write a run directory."""

import contextlib
import dataclasses
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kerasrec
from kerasrec._checks import check_integer
from kerasrec._files import new_file
from kerasrec.cli.data import (
    are_examples,
    chosen_features,
    describe_positives,
    key_and_file,
    prepare,
)
from kerasrec.cli.examples import all_rows, prepare_examples
from kerasrec.cli.model_flags import default_arguments
from kerasrec.cli.output import Report
from kerasrec.cli.settings import Source, Splitting, differing
from kerasrec.cli.terminal import import_tensorflow, step
from kerasrec.runs.directory import write_run
from kerasrec.runs.example_records import record_examples
from kerasrec.runs.records import Records, below_baseline, record, with_findings
from kerasrec.runs.settings import Training, seconds_of
from kerasrec.runs.terminal import say
from kerasrec.runs.unfinished import begin, give_up, remember_rows
from kerasrec.types import is_computed, output_kind

if TYPE_CHECKING:  # at run time, only what uses it pays for its import
    from kerasrec.data import PreparedData, PreparedExamples
    from kerasrec.datasets import Dataset
    from kerasrec.runs._train import TrainingResult
    from kerasrec.runs.choosing.choices import Choices

CHOICES = "choices.json"


def fit(
    model: str,
    arguments: dict[str, Any],
    source: Source,
    splitting: Splitting,
    training: Training,
    *,
    output: str | None = None,
    budget: str | float | None = None,
    recipe: bool = False,
    resume: bool = False,
    refit: bool = False,
    replicas: int | None = None,
) -> Report:
    """Train a model and write a run directory.

    Args:
        model: name of a model.
        arguments: arguments of its constructor that are given.
        source: data to read.
        splitting: rows to hold out.
        training: training options.
        output: the run directory, which must not exist.
        budget: time for short trainings that compare some settings first; None to take what the
            rules choose.
        recipe: print the settings that would be used, and stop.
        resume: continue an unfinished training of this output, if there is one.
        refit: train again on all rows, for the epochs found on the validation rows. The metrics
            are those of the first model.
        replicas: number of devices that train together; None for one.

    Raises:
        ValueError: if the directory exists, a flag or the data are invalid, or the loss is not
            finite before the end of an epoch.
    """
    if budget is not None:
        seconds_of(budget)  # refuses at once what is no time
    found: dict[str, Any] = {}
    for name in ("data", "users", "items"):
        file = getattr(source, name)
        if file is not None and Path(file).is_file():  # so that the run finds it from anywhere
            found[name] = str(Path(file).resolve())
    joined = [key_and_file(text) for text in source.tables]
    absolute = [f"{key}={Path(file).resolve()}" for key, file in joined]
    source = dataclasses.replace(source, **found, tables=absolute or source.tables)
    files = {n: getattr(splitting, n) for n in ("valid_file", "test_file")}
    there: Any = {n: str(Path(f).resolve()) for n, f in files.items() if f and Path(f).is_file()}
    splitting = dataclasses.replace(splitting, **there)
    flags = {"model": model, **arguments, "refit": refit, "budget": budget, "replicas": replicas}
    for settings in (source, splitting, training):
        flags |= dataclasses.asdict(settings)
    if refit and splitting.valid == 0 == splitting.test:
        raise ValueError(
            "--refit: with --valid 0 --test 0 all rows are training rows already. Leave it out."
        )
    given = _Given(model, arguments, source, splitting, training, budget)
    if recipe:
        return given.recipe()
    if output is None:
        raise ValueError("--output: expected the directory to write; received none.")
    folder = begin(output, flags, resume=resume)
    try:
        report = _fit(given, flags, folder, Path(output))
    except BaseException as error:
        # A search is not lost by Ctrl-C in the first epoch.
        searched = budget is not None and (folder / CHOICES).is_file()
        if not (searched and isinstance(error, KeyboardInterrupt)):
            give_up(folder)
        if folder.exists():
            say(f"The training so far is in {folder}. Continue with --resume.")
        raise
    shutil.rmtree(folder)
    return report


@dataclasses.dataclass(frozen=True)
class _Given:
    """Values of the flags, and what follows from them."""

    model: str
    arguments: dict[str, Any]
    source: Source
    splitting: Splitting
    training: Training
    budget: str | float | None

    def read(self) -> "tuple[Dataset | None, Any]":
        """Read and split the rows, and describe them. Without users and items, no data set."""
        from kerasrec.runs.recipes import check_loss, kind_of

        if are_examples(self.model, self.source):
            return None, self._read_examples()
        with step(f"Reading {self.source.data}"):
            dataset, ready = prepare(self.source, self.splitting, seed=self.training.seed)
        say(ready.split.describe())
        if line := describe_positives(dataset.interactions, ready.schema):
            say(line)
        ready.check_positives()
        import_tensorflow()
        kind = getattr(kerasrec.models, self.model)
        if len(kind.narrow(ready.schema).features) > len(ready.schema.only().features):
            say(f"Features: {'; '.join(ready.notes)}.")
        check_loss(kind, self.training.loss)
        if kind_of(kind).histories and self.splitting.split == "random":
            raise ValueError(
                f"--split random: {self.model} learns from the order of the rows, which a random "
                "split does not keep. Choose leave_last_out, temporal or time."
            )
        return dataset, ready

    def _read_examples(self) -> "PreparedExamples":
        """Read and split rows without users and items, and describe them."""
        with step(f"Reading {self.source.data}"):
            ready = prepare_examples(
                self.model,
                self.source,
                self.splitting,
                seed=self.training.seed,
                classes=False if self.training.loss == "mse" else None,
            )
        say(ready.split.describe())
        say(f"Features: {'; '.join(ready.notes)}.")
        import_tensorflow()
        return ready

    def choose(self, ready: Any) -> "Choices":
        """Choose what is not given, by rules or by short trainings, and describe it."""
        about: dict[str, Any] = {
            "max_length": self.source.max_length,
            "arguments": self.arguments,
        }
        if self.budget is None:
            chosen = kerasrec.runs.choose(self.model, ready, self.training, **about)
        else:
            with _said_warnings():
                chosen = kerasrec.runs.search(
                    self.model, ready, self.training, budget=self.budget, **about
                )
        say(chosen.describe())
        return chosen

    def recipe(self) -> Report:
        """Report the settings as YAML."""
        _, ready = self.read()
        chosen = self.choose(ready)
        rows = {**differing(self.source), **differing(self.splitting)}
        return Report({**rows, **chosen.settings}, chosen.to_yaml(**rows).rstrip())


def _fit(given: _Given, flags: dict[str, Any], folder: Path, directory: Path) -> Report:
    """Run the training between creating its folder and removing it."""
    dataset, ready = given.read()
    fingerprint = ready.fingerprint()
    remember_rows(folder, {**fingerprint, **table_checksums(ready)})
    import keras

    kerasrec.training.keep_freed_memory()
    name = given.model
    strategy = _strategy(name, flags["replicas"])  # before TensorFlow has run anything
    keras.utils.set_random_seed(given.training.seed)  # the same choice for the same seed
    chosen = _kept_choices(folder, lambda: given.choose(ready))
    ready = chosen.prepared(ready)

    def train(rows: Any, **options: Any) -> tuple[Any, Any, float]:
        start = time.perf_counter()
        keras.utils.set_random_seed(chosen.training.seed)  # the same model for the same seed
        with strategy.scope():
            model = chosen.make(rows)
        rows = rows.for_model(model)
        if dataset is not None and output_kind(model) == "logits":
            raise ValueError(
                f"{name} with several logits ranks no items, and a run is judged by a ranking. "
                "Leave --num_classes out, or train it in Python: kerasrec.runs.train(model, ready)."
            )
        with _said_warnings():
            trained = kerasrec.runs.train(model, rows, chosen.training, folder=folder, **options)
        if strategy.num_replicas_in_sync > 1:  # one copy is enough from here on
            weights = model.get_weights()
            model = chosen.make(rows)
            model.set_weights(weights)
        return model, trained, time.perf_counter() - start

    model, trained, seconds = train(ready)
    learned = str(chosen.training.loss) if trained.history else ""
    if dataset is None:
        with step("Predicting the test rows"):
            records = record_examples(name, model, ready, loss=learned)
    else:
        with step("Ranking the test rows"):
            compared = _beside_popularity(name, model, ready)
            records = record(compared, ready, dataset, losses={name: learned})
    about = records.about
    about["seconds"]["training"] = seconds
    about["choices"] = {"text": chosen.describe(), "reasons": chosen.reasons}
    about["notes"].append(chosen.describe())
    if trained.problem is not None:
        about["findings"].append(trained.problem)
    if trained.overfit is not None:
        about["findings"].append(trained.overfit)
    if trained.calibration is not None:
        about["notes"].append(f"Probabilities: {trained.calibration.describe()}.")
    if dataset is not None:
        about["findings"] += below_baseline(name, records.metrics, ready, loss=learned)
    served = ready
    if flags["refit"] and dataset is None:
        served = all_rows(ready, given.source)
    elif flags["refit"] and dataset is not None:
        whole = kerasrec.data.prepare(
            dataset.interactions,
            positive=given.source.positive,
            min_count=given.source.min_count,
            features=chosen_features(given.source),
        )
        served = chosen.prepared(whole)
    if flags["refit"]:
        model, note, about["seconds"]["refit"] = _refit(train, served, trained)
        about["notes"].append(note)
    write_run(
        directory,
        model,
        served,
        flags={**flags, **default_arguments(name), **chosen.settings},
        split=fingerprint,
        history=trained.history,
        records=records,
    )
    return _report(directory, fingerprint, trained, records)


def table_checksums(ready: Any) -> dict[str, Any]:
    """Return the number of rows and the checksums of the tables of users and of items."""
    from kerasrec.data.encoding.id_table import hash_values

    tables = {side: getattr(ready, side, {}) for side in ("users", "items")}
    return {
        side: {
            "rows": len(next(iter(columns.values()))),
            "sha256": {name: hash_values(values) for name, values in columns.items()},
        }
        for side, columns in tables.items()
        if columns
    }


def _kept_choices(folder: Path, choose: "Callable[[], Choices]") -> "Choices":
    """Return the choices of an earlier part of this training, or choose now and keep them."""
    from kerasrec.runs.choosing.choices import Choices

    file = folder / CHOICES
    if file.is_file():
        chosen = Choices.load(file.read_text(encoding="utf-8"))
        say(chosen.describe())
        return chosen
    chosen = choose()
    with new_file(file) as path:
        path.write_text(chosen.dump(), encoding="utf-8")
    return chosen


def _report(
    directory: Path, fingerprint: Mapping[str, Any], trained: "TrainingResult", records: Records
) -> Report:
    findings = records.about["findings"]
    document = {
        "run": directory,
        "rows": {name: part["rows"] for name, part in fingerprint.items()},
        "epochs": len(trained.history.get("loss", ())),
        "seconds": records.about["seconds"],
        "metrics": records.metrics,
        "findings": findings,
    }
    table = "No test rows: nothing was measured."
    if records.metrics:
        table = kerasrec.evaluation.format_table(records.metrics)
    following = f"kerasrec recommend {directory} --user ID"
    if records.about.get("task") == "labels":
        following = f"kerasrec export {directory} DIRECTORY"
    following = f"Written to {directory}. Next: {following}"
    text = f"{with_findings(table, findings)}\n{following}"
    return Report(document, text, code=1 if trained.diverged else 0)


def _strategy(name: str, replicas: int | None) -> Any:
    """Return the strategy of a training on so many devices: GPUs, or parts of the CPU without one.

    Raises:
        ValueError: if the model is not trained, or there are fewer GPUs.
    """
    import tensorflow as tf

    if replicas is None:
        return tf.distribute.get_strategy()
    check_integer("fit", "replicas", replicas, 2, hint="Leave it out to train on one device.")
    if is_computed(getattr(kerasrec.models, name)):
        raise ValueError(
            f"replicas={replicas}: {name} counts rows, and has no training to share. Leave it out."
        )
    gpus = bool(tf.config.list_physical_devices("GPU"))
    strategy = kerasrec.distribute.strategy("mirrored" if gpus else "cpu", replicas=replicas)
    say(f"Each batch is shared by {replicas} {'GPUs' if gpus else 'parts of the CPU'}.")
    return strategy


def _refit(
    train: Callable[..., tuple[Any, Any, float]], whole: Any, trained: "TrainingResult"
) -> tuple[Any, str, float]:
    """Train a new model on all rows for the epochs found. Return a note and the seconds too.

    It keeps the calibration of the first model, since no rows are left to fit another one to.
    """
    rows, epochs = len(whole.split.train), trained.epochs
    say(f"Training again on all {rows:,} rows, for {epochs} epochs.")
    model, again, seconds = train(whole, refit_epochs=epochs)
    if again.problem is not None:
        raise ValueError(
            f"--refit: {again.problem} No run was written, since its model would not be trained on "
            "all rows as requested. Continue with --resume, or leave --refit out."
        )
    note = (
        f"The model in the run was trained again on all {rows:,} rows for {epochs} epochs "
        "(--refit); the metrics are those of the first model, without the held-out rows."
    )
    if trained.calibration is not None and trained.calibration.method != "none":
        model.calibrate(trained.calibration)
    return model, note, seconds


def _beside_popularity(name: str, model: Any, ready: "PreparedData") -> dict[str, Any]:
    """Return the models a run reports on, popularity of the training rows first."""
    if name.casefold() == "popularity":
        return {name: model}
    popularity = kerasrec.models.Popularity(ready.schema)
    popularity.adapt(ready.train)  # the rows that the model learned from
    return {"popularity": popularity, name: model}


@contextlib.contextmanager
def _said_warnings() -> Iterator[None]:
    """Print training warnings as lines of the command line."""
    diagnosed = contextlib.redirect_stdout(sys.stderr)  # only results go to stdout
    try:
        with warnings.catch_warnings(record=True) as found, diagnosed:
            warnings.filterwarnings("always", message="TrainingDiagnostics:")
            yield
    finally:
        for warning in found:
            say(f"Warning: {warning.message}")

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
from kerasrec.cli.data import chosen_features, describe_positives, prepare
from kerasrec.cli.output import Report
from kerasrec.cli.settings import Source, Splitting
from kerasrec.cli.terminal import import_tensorflow, step
from kerasrec.runs.directory import write_run
from kerasrec.runs.records import Records, record, with_findings
from kerasrec.runs.settings import Training
from kerasrec.runs.terminal import say
from kerasrec.runs.unfinished import begin, give_up, remember_rows
from kerasrec.types import output_kind

if TYPE_CHECKING:  # at run time, only what uses it pays for its import
    from kerasrec.data import PreparedData
    from kerasrec.datasets import Dataset
    from kerasrec.runs._train import TrainingResult


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
        refit: train again on all rows, for the epochs found on the validation rows. The metrics
            are those of the first model.

    Raises:
        ValueError: if the directory exists, a flag or the data are invalid, or the loss is not
            finite before the end of an epoch.
    """
    files = {name: getattr(source, name) for name in ("data", "users", "items")}
    found = {
        name: str(Path(file).resolve())
        for name, file in files.items()
        if file is not None and Path(file).is_file()
    }
    source = dataclasses.replace(source, **found)  # so that the run finds them from anywhere
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
    source, _, training = settings
    dataset, ready, fingerprint = _read(settings, folder)
    import_tensorflow()
    import keras

    kerasrec.training.keep_freed_memory()
    name = flags["model"]
    kind, training, history = _kind(name, settings)
    if history is not None:
        ready = ready.with_history(history)
    hyperparameters = {n: v for n, v in flags.items() if n not in _SETTINGS}

    def train(rows: "PreparedData", **options: Any) -> tuple[Any, Any, float]:
        start = time.perf_counter()
        keras.utils.set_random_seed(training.seed)  # the same model for the same seed
        model = kind(rows.schema, **hyperparameters)
        rows = rows.for_model(model)
        if output_kind(model) == "logits":
            raise ValueError(
                f"{name} with several logits ranks no items, and a run is judged by a ranking. "
                "Leave --num_classes out, or train it in Python: kerasrec.runs.train(model, ready)."
            )
        with _said_warnings():
            trained = kerasrec.runs.train(model, rows, training, folder=folder, **options)
        return model, trained, time.perf_counter() - start

    model, trained, seconds = train(ready)
    learned = str(training.loss) if trained.history else ""
    with step("Ranking the test rows"):
        compared = _beside_popularity(name, model, ready)
        records = record(compared, ready, dataset, losses={name: learned})
    about = records.about
    about["seconds"]["training"] = seconds
    if trained.problem is not None:
        about["findings"].append(trained.problem)
    served = ready
    if flags["refit"]:
        served = kerasrec.data.prepare(
            dataset.interactions,
            history=history,
            positive=source.positive,
            min_count=source.min_count,
            features=chosen_features(source),
        )
        model, note, about["seconds"]["refit"] = _refit(train, served, trained.epochs)
        about["notes"].append(note)
    write_run(
        directory,
        model,
        served,
        flags={**flags, **dataclasses.asdict(training)},
        split=fingerprint,
        history=trained.history,
        records=records,
    )
    return _report(directory, fingerprint, trained, records)


def _read(
    settings: tuple[Source, Splitting, Training], folder: Path
) -> "tuple[Dataset, PreparedData, dict[str, Any]]":
    """Read and split the rows, describe them, and compare them with those of a resumed training."""
    source, splitting, training = settings
    with step(f"Reading {source.data}"):
        dataset, ready = prepare(source, splitting, seed=training.seed)
    fingerprint = ready.fingerprint()
    remember_rows(folder, fingerprint)
    say(ready.split.describe())
    if line := describe_positives(dataset.interactions, ready.schema):
        say(line)
    ready.check_positives()
    return dataset, ready, fingerprint


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
    table = "No test rows: nothing was ranked."
    if records.metrics:
        table = kerasrec.evaluation.format_table(records.metrics)
    following = f"Written to {directory}. Next: kerasrec recommend {directory} --user ID"
    text = f"{with_findings(table, findings)}\n{following}"
    return Report(document, text, code=1 if trained.diverged else 0)


_SETTINGS = {"model", "refit"} | {
    field.name for kind in (Source, Splitting, Training) for field in dataclasses.fields(kind)
}


def _kind(
    name: str, settings: tuple[Source, Splitting, Training]
) -> tuple[Any, Training, int | None]:
    """Return the model class, the flags with defaults filled in, and the length of histories."""
    from kerasrec.runs.recipes import kind_of, with_defaults

    source, splitting, training = settings
    kind = getattr(kerasrec.models, name)
    histories = kind_of(kind).histories
    if histories and splitting.split == "random":
        raise ValueError(
            f"--split random: {name} learns from the order of the rows, which a random split does "
            "not keep. Choose leave_last_out, temporal or time."
        )
    return kind, with_defaults(kind, training), source.max_length if histories else None


def _refit(
    train: Callable[..., tuple[Any, Any, float]], whole: "PreparedData", epochs: int
) -> tuple[Any, str, float]:
    """Train a new model on all rows for the epochs found. Return a note and the seconds too."""
    rows = len(whole.split.train)
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

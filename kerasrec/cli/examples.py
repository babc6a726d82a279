"""Rows without users and items that the flags name: read, split and encoded."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import kerasrec
from kerasrec.cli.data import (
    are_examples,
    chosen_features,
    form_of,
    read,
    side_columns,
    table_file,
    tables,
)
from kerasrec.cli.flags import as_flags
from kerasrec.cli.model_flags import NAMES
from kerasrec.cli.output import Report
from kerasrec.cli.settings import Source, Splitting, differing
from kerasrec.cli.terminal import import_tensorflow, step
from kerasrec.runs.terminal import say
from kerasrec.schema import ANY_POSITIVE_LABEL, Schema
from kerasrec.types import StepClassifier

if TYPE_CHECKING:  # at run time, commands import these only when they use them
    from kerasrec.data import Examples, ExampleSplit, PreparedExamples, Vocabulary

MOST_LABELS = 20
WINDOW_LENGTH = 10
"""Rows of a window that is not given."""


def prepare_examples(
    model: str,
    source: Source,
    splitting: Splitting,
    *,
    seed: int,
    vocabularies: "Mapping[str, Vocabulary] | None" = None,
    schema: Schema | None = None,
    classes: bool | None = None,
) -> "PreparedExamples":
    """Read, split and encode, with the vocabularies of a run or with new ones.

    Args:
        model: name of a model. Classifiers of sequences get windows of rows.
        source: data to read.
        splitting: rows to hold out.
        seed: seed of a random split.
        vocabularies: of a run; None to fit them.
        schema: features of the rows, of a run; None to find them.
        classes: whether labels name classes; None to find out, for models that predict them.

    Raises:
        ValueError: if the flags or the data are invalid.
    """
    sequences = issubclass(getattr(kerasrec.models, model), StepClassifier)
    if classes is None and (source.positive != ANY_POSITIVE_LABEL or not sequences):
        classes = False
    return kerasrec.data.prepare_examples(
        _split(model, source, splitting, seed, classes),
        positive=source.positive,
        min_count=source.min_count,
        missing_values=source.missing_values,
        scaling=source.scaling,
        features=chosen_features(source),
        vocabularies=vocabularies,
        schema=schema,
    )


def all_rows(ready: "PreparedExamples", source: Source) -> "PreparedExamples":
    """Return the rows of all parts as training rows, prepared again.

    Args:
        ready: the parts.
        source: the flags that they were read by.
    """
    import pyarrow as pa

    tables = [part.table for part in ready.split.parts.values()]
    label, known = ready.schema.label, ready.vocabularies
    # A file of test rows may have fractions where the training rows have whole numbers.
    whole = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    train = dataclasses.replace(ready.split.train, table=whole)
    return kerasrec.data.prepare_examples(
        train,
        positive=source.positive,
        min_count=source.min_count,
        missing_values=source.missing_values,
        scaling=source.scaling,
        features=chosen_features(source),
        # The model keeps its classes.
        vocabularies={label: known[label]} if label in known else None,
    )


def audit_examples(source: Source) -> Report:
    """Report on rows without users and items: labels, columns, and what looks wrong.

    Args:
        source: data to read.

    Raises:
        ValueError: if the flags or the data are invalid.
    """
    rows = read(source, classes=None)
    if all(name.lstrip("-").isdigit() for name in rows.classes):
        rows = read(source)  # which may be numbers to predict as well
    ready = kerasrec.data.prepare_examples(rows, positive=source.positive)
    values, counts = np.unique(rows.labels, return_counts=True)
    names = [f"{value:g}" for value in values]
    if rows.classes:
        names = [rows.classes[int(value)] for value in values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", kerasrec.evaluation.ProtocolWarning)
        leaks = kerasrec.evaluation.check_features(ready.train, ready.schema)
    ends = names if rows.classes else values.tolist()
    problems = []
    if len(values) < 2:
        problems.append(f"all labels are {values[0]:g}: there is nothing to learn")
    elif rows.classes:
        problems.append(
            f"the label {rows.label!r} is text, one of {len(values):,} classes, which "
            "StackedLSTMClassifier predicts"
        )
    elif len(values) > 2 and source.positive == ANY_POSITIVE_LABEL:
        problems.append(
            f"the label {rows.label!r} has {len(values):,} values: pass --positive with those that "
            "are a yes, or train with --loss mse"
        )
    lacking = {n: rows.table[n].null_count for n in rows.features if rows.table[n].null_count}
    few = len(values) <= MOST_LABELS
    labels: dict[str, Any] = (
        {name: int(n) for name, n in zip(names, counts, strict=True)} if few else {}
    )
    document = {
        "source": source.data,
        "rows": len(rows),
        "label": rows.label,
        "labels": labels or {"lowest": ends[0], "highest": ends[-1]},
        "missing": lacking,
        "columns": list(ready.notes),
        "problems": problems,
        "leaks": leaks,
    }
    shown = [f"{value} {count / len(rows):.1%}" for value, count in labels.items()]
    gaps = [f"{name} {count:,}" for name, count in lacking.items()]
    lines = [
        f"audit of {source.data}",
        f"rows          {len(rows):,}",
        f"label         {rows.label!r}: {', '.join(shown) or f'{names[0]} to {names[-1]}'}",
        f"missing       {', '.join(gaps) or 'none'}",
    ]
    sections = {"columns": ready.notes, "problems": problems, "likely leaks": leaks}
    for title, found in sections.items():
        lines.append(f"{title:<13} {'' if found else 'none'}".rstrip())
        lines += [f"  - {text}" for text in found]
    return Report(document, "\n".join(lines))


def choose_model(
    models: Sequence[str],
    source: Source,
    *,
    by: Literal["random", "group", "time"] = "random",
    group: str | None = None,
    folds: int = 5,
    valid: float = 0.2,
    loss: Literal["log_loss", "mse"] | None = None,
    metric: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
) -> Report:
    """Choose between models of a table by nested cross-validation.

    In each fold the validation rows choose the epoch and the model, and the test rows measure what
    was chosen, so that the figures are those of the whole procedure.

    Args:
        models: names of models of rows without users and items; the first of equals is chosen.
        source: data to read.
        by: how the rows are dealt to the folds, at random, by group or along time.
        group: column whose rows of one value stay in one fold, for folds by group.
        folds: number of folds; each row is a test row once, but the oldest ones along time.
        valid: share of the other rows of a fold that are validation rows.
        loss: log_loss for labels of yes and no, mse for numbers; null for log_loss, if labels or
            --positive tell which rows are a yes.
        metric: metric of the validation rows that chooses; null for auc, or for rmse with mse.
        epochs: most epochs of a training; null for those that the rules choose.
        seed: seed of the folds and of the trainings.

    Raises:
        ValueError: if the flags or the data are invalid.
    """
    twice = sorted({name for name in models if list(models).count(name) > 1})
    if unknown := [name for name in models if name not in NAMES] or twice:
        raise ValueError(
            f"choose: expected names of models, each once; received {unknown}. Choose among "
            f"{', '.join(NAMES)}."
        )
    if (by == "group") != (group is not None):
        raise ValueError(
            f"--by {by} --group {group or 'null'}: folds by group need its column, and no others "
            "take one."
        )
    if source.window is not None:
        raise ValueError(f"--window {source.window}: folds are of single rows. Leave it out.")
    import_tensorflow()
    there = Path(source.data).is_file()  # if not, it is said when it is read
    for name in models:
        kind = getattr(kerasrec.models, name)
        sides = kind.sides or (there and not are_examples(name, source))
        if issubclass(kind, StepClassifier) or sides:
            raise ValueError(
                f"choose: {name} reads histories, or users and items, and folds are of single rows "
                "of columns. Leave it out, or pass --user null --item null to take all columns as "
                "features."
            )
    named = source.time if by == "time" or source.time != "timestamp" else None
    with step(f"Reading {source.data}"):
        rows = read(source, time=named, group=group)
    about = {"loss": loss, "epochs": epochs, "seed": seed}
    parts = {"split": None if by == "random" else by, "group": group}
    found = kerasrec.runs.cross_validate_choice(
        {name: {"model": name, **about} for name in models},
        kerasrec.evaluation.example_folds(rows, by, folds=folds, valid=valid, seed=seed),
        metric=metric or ("rmse" if loss == "mse" else "auc"),
        prepared={
            "positive": source.positive,
            "min_count": source.min_count,
            "missing_values": source.missing_values,
            "scaling": source.scaling,
            "features": chosen_features(source),
        },
    )
    low_high = {name: found.interval(name) for name in found.values}
    best = max(found.times, key=lambda name: found.times[name])
    test, times = low_high[found.metric], found.times
    document = {
        "metric": found.metric,
        "chosen": list(found.chosen),
        "test": {name: dataclasses.asdict(interval) for name, interval in low_high.items()},
        "models": found.rows(),
        "valid": found.valid,
    }
    lines = [
        kerasrec.evaluation.format_table(found.rows()),
        f"Test rows of {len(found.chosen)} folds, mean {found.metric} as chosen: {test.mean:.4f} "
        f"({test.low:.4f} to {test.high:.4f}).",
        f"{best} was chosen in {times[best]} of {len(found.chosen)} folds: kerasrec fit {best} "
        + as_flags({**differing(source), "label": rows.label, **_given(about | parts)}),
    ]
    return Report(document, "\n".join(lines))


def _given(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that are not left to the rules, or the default."""
    return {name: value for name, value in about.items() if value}


def _split(
    model: str, source: Source, splitting: Splitting, seed: int, classes: bool | None
) -> "ExampleSplit":
    """Read all rows, as windows for models of sequences, and split them."""
    sequences = issubclass(getattr(kerasrec.models, model), StepClassifier)
    user = side_columns(source)[0] if sequences else None
    if source.window is not None and not sequences:
        raise ValueError(
            f"--window {source.window}: {model} reads single rows. Leave it out, or train "
            "StackedLSTMClassifier."
        )
    if user is not None and splitting.group not in (None, user):
        raise ValueError(
            f"--user {user} --group {splitting.group}: windows are of the rows of a user, and all "
            "rows of a user stay in one part. Leave --split and --group out, or pass --user null "
            f"for windows of the rows of one {splitting.group}."
        )
    group = splitting.group or user
    train = read(source, time=_time(model, source, splitting), group=group, classes=classes)
    say(f"Rows are examples of {train.label!r}, with {len(train.features)} columns of features.")
    files = {"valid": splitting.valid_file, "test": splitting.test_file}
    held = {
        name: kerasrec.data.read_examples(
            file, like=train, tables=tables(source), **form_of(source)
        )
        for name, file in files.items()
        if file is not None
    }
    if sequences:
        length = source.window or WINDOW_LENGTH
        of = "of a user" if user else "of the file"
        say(f"Each reads the newest {length} rows {of} up to it.")
        train = kerasrec.data.windows(train, length)
        held = {name: kerasrec.data.windows(part, length) for name, part in held.items()}
        if splitting.split is None:  # windows of a random split would share rows
            by: Any = "group" if train.group else "time"
            splitting = dataclasses.replace(splitting, split=by, group=train.group)
            train = train if by == "group" or train.time else _numbered(train)
    return _parts(train, held, splitting, seed)


def _numbered(rows: "Examples") -> "Examples":
    """Return rows with their numbers as times, since the file is in order."""
    import pyarrow as pa

    name = "row_number"
    while name in rows.table.column_names:
        name += "_"
    table = rows.table.append_column(name, pa.array(np.arange(len(rows))))
    return dataclasses.replace(rows, table=table, time=name)


def _time(model: str, source: Source, splitting: Splitting) -> str | None:
    """Return the column of times: the one that is named, or that a split or windows need."""
    if source.time != "timestamp" or splitting.split == "time":
        return source.time
    chosen = chosen_features(source) or ()
    ordered = issubclass(getattr(kerasrec.models, model), StepClassifier)
    ordered = ordered and source.time not in chosen  # which make it a feature
    # Without the file, its lack is said when it is read.
    there = ordered and Path(source.data).is_file()
    return source.time if there and source.time in table_file(source).names else None


def _parts(
    train: "Examples", held: "Mapping[str, Examples]", splitting: Splitting, seed: int
) -> "ExampleSplit":
    """Return the parts: those of files, and for the others shares of the rows."""
    by: Any = splitting.split or "random"
    if by not in ("random", "time", "group"):
        raise ValueError(
            f"--split {by}: it orders the rows of a user, and these rows have no users. Choose "
            "random, time or group."
        )
    if (by == "group") != (splitting.group is not None):
        raise ValueError(
            f"--split {by} --group {splitting.group or 'null'}: a split by group needs its column, "
            "and no other split takes one."
        )
    shares = {}
    for name in ("valid", "test"):
        given = getattr(splitting, name)
        if name in held and given is not None:
            raise ValueError(
                f"--{name} {given} --{name}_file: the {name} rows are those of the file. Leave one "
                "of the two out."
            )
        # With a file of test rows alone, validation rows still come from the data.
        shares[name] = 0.0 if name in held else 0.1 if given is None else float(given)
    if not any(shares.values()):
        rest = kerasrec.data.ExampleSplit(train, method="all rows are training rows")
    else:
        rest = kerasrec.data.split_examples(train, by, seed=seed, **shares)
    return kerasrec.data.ExampleSplit(
        rest.train,
        held.get("valid", rest.valid),
        held.get("test", rest.test),
        f"given files; {rest.method}" if held else rest.method,
    )

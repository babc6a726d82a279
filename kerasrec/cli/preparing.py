"""Preparation of encoded columns from flags, shared by training and evaluation."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.cli.settings import Source, Splitting
from kerasrec.runs.terminal import say
from kerasrec.schema import ANY_POSITIVE_LABEL, Schema

if TYPE_CHECKING:  # at run time, commands import these only when they use them
    from kerasrec.data import Interactions, PreparedData, Vocabulary
    from kerasrec.datasets import Dataset


def load(source: Source) -> "Dataset":
    """Load and clean the data set of the flags.

    Raises:
        ValueError: if it cannot be read, or does not accept one of the flags.
    """
    roles = {field.name: field.default for field in dataclasses.fields(Source)}
    for name in ("data", "positive", "duplicates", "k_core", "min_count", "max_length"):
        del roles[name]
    given = {**dataclasses.asdict(source), "context": tuple(source.context)}  # YAML has lists
    options = {name: given[name] for name, default in roles.items() if given[name] != default}
    if source.duplicates != "error" and Path(source.data).is_file():
        options["duplicates"] = "keep"  # until the policy is applied, below
    say_form(source)
    dataset = kerasrec.datasets.load(source.data, **options)
    rows = dataset.interactions
    if source.duplicates in ("last", "mean"):
        rows = kerasrec.data.deduplicate(rows, policy=source.duplicates)
    if source.k_core > 1:
        rows = kerasrec.data.k_core(rows, user=source.k_core, item=source.k_core)
    return dataclasses.replace(dataset, interactions=rows)


def say_form(source: Source) -> None:
    """Print in one line how a file is read, if the flags leave it open."""
    from kerasrec.data.readers import FileForm, TableFile

    if not Path(source.data).is_file():
        return
    fields = {field.name for field in dataclasses.fields(FileForm)}
    form = FileForm(**{name: getattr(source, name) for name in fields})
    roles = {role: getattr(source, role) for role in ("user", "item", "label", "time")}
    file = TableFile.open(source.data, form, roles)
    found = file.roles(roles, source.context)
    if found != roles or file.form.separator not in (form.separator, ",", "\t", None):
        say(file.describe(found))


def prepare(
    source: Source,
    splitting: Splitting,
    *,
    seed: int,
    vocabularies: "Mapping[str, Vocabulary] | None" = None,
) -> "tuple[Dataset, PreparedData]":
    """Read, clean, split and encode.

    Args:
        source: data to read.
        splitting: rows to hold out.
        seed: seed of a random split.
        vocabularies: vocabularies of a run, for its model. None to fit new ones on training rows.

    Returns:
        The cleaned data set with its side tables, and its parts.

    Raises:
        ValueError: if the flags or the data are invalid.
    """
    dataset = load(source)
    rows: Any = dataset.interactions
    sizes: dict[str, Any] = {
        name: getattr(splitting, name)
        for name in ("valid", "test")
        if getattr(splitting, name) is not None
    }
    if sizes.get("valid") == 0 == sizes.get("test"):
        split = rows
    elif splitting.split == "leave_last_out":
        split = kerasrec.data.leave_last_out(rows, **sizes)
    elif splitting.split == "random":
        split = kerasrec.data.random_split(rows, seed=seed, **sizes)
    elif splitting.split == "temporal":
        split = kerasrec.data.per_user_time_split(rows, **sizes)
    else:
        split = kerasrec.data.global_time_split(rows, **sizes)
    return dataset, kerasrec.data.prepare(
        split, positive=source.positive, min_count=source.min_count, vocabularies=vocabularies
    )


def describe_positives(rows: "Interactions", schema: Schema) -> str | None:
    """Describe in one line which rows are positives. None without a label column.

    Args:
        rows: all rows.
        schema: has the rule.
    """
    if rows.label is None:
        return None
    labels = rows.column(rows.label)
    count = int(np.count_nonzero(schema.is_positive(labels)))
    line = f"Positives: {count:,} of {len(rows):,} rows have a {rows.label} {schema.positive}"
    if count < len(rows):
        line += "; others only count as seen"
    if labels.max() > 1 and schema.positive == ANY_POSITIVE_LABEL:
        line += ". --positive '>=4' would change it"
    return f"{line}."

"""From flags to encoded columns: the same way when a model is trained and when it is looked at."""

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasrec
from kerasrec.cli.settings import Source, Splitting
from kerasrec.cli.terminal import say
from kerasrec.schema import Schema, Sequence

if TYPE_CHECKING:  # at run time, only a command that uses them pays for their imports
    from kerasrec.data import Split, Vocabulary
    from kerasrec.datasets import Dataset


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Rows, split and encoded.

    Args:
        dataset: the cleaned data set, with its side tables.
        split: raw rows of each part.
        vocabularies: raw ids of the training rows.
        schema: what the columns hold.
        train: encoded training rows.
        valid: encoded validation rows.
        test: encoded test rows.
    """

    dataset: "Dataset"
    split: "Split"
    vocabularies: "dict[str, Vocabulary]"
    schema: Schema
    train: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    test: dict[str, np.ndarray]

    def with_histories(self, max_length: int) -> "Prepared":
        """The same, each held-out row with the items that its user had before it.

        Args:
            max_length: newest items that count.

        Raises:
            ValueError: if the number is not positive.
        """
        item, time = self.schema.item_id.name, self.split.train.time
        history = Sequence("history", of=item, max_length=max_length)
        schema = dataclasses.replace(self.schema, user=(*self.schema.user, history))
        held_out, past = [], self.train
        for part in (self.valid, self.test):
            some = len(part[item]) > 0
            held_out.append(
                kerasrec.data.add_history(part, schema, time=time, past=past) if some else part
            )
            past = {name: np.concatenate([past[name], part[name]]) for name in past}
        valid, test = held_out
        return dataclasses.replace(self, schema=schema, valid=valid, test=test)

    def fingerprint(self) -> dict[str, Any]:
        """Rows and checksum of the encoded ids of each part."""
        ids = (self.schema.user_id.name, self.schema.item_id.name)
        return {
            name: {
                "rows": len(columns[ids[0]]),
                "sha256": hashlib.sha256(b"".join(columns[n].tobytes() for n in ids)).hexdigest(),
            }
            for name, columns in (("train", self.train), ("valid", self.valid), ("test", self.test))
        }


def load(source: Source) -> "Dataset":
    """The data set of the flags, cleaned.

    Raises:
        ValueError: if it cannot be read, or does not take one of the flags.
    """
    roles = {field.name: field.default for field in dataclasses.fields(Source)}
    for name in ("data", "duplicates", "k_core"):
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
    """Say in one line how a file is read, where that was not all told."""
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


def prepare(source: Source, splitting: Splitting, *, seed: int) -> Prepared:
    """Reads, cleans, splits and encodes.

    Raises:
        ValueError: if the flags or the data are refused.
    """
    dataset = load(source)
    sizes: dict[str, Any] = {
        name: getattr(splitting, name)
        for name in ("valid", "test")
        if getattr(splitting, name) is not None
    }
    if splitting.split == "leave_last_out":
        split = kerasrec.data.leave_last_out(dataset.interactions, **sizes)
    elif splitting.split == "random":
        split = kerasrec.data.random_split(dataset.interactions, seed=seed, **sizes)
    elif splitting.split == "temporal":
        split = kerasrec.data.temporal_split(dataset.interactions, **sizes)
    else:
        split = kerasrec.data.time_split(dataset.interactions, **sizes)
    vocabularies = kerasrec.data.fit_vocabularies(split.train)
    return Prepared(
        dataset,
        split,
        vocabularies,
        kerasrec.data.make_schema(split.train, vocabularies),
        train=kerasrec.data.encode(split.train, vocabularies),
        valid=kerasrec.data.encode(split.valid, vocabularies),
        test=kerasrec.data.encode(split.test, vocabularies),
    )

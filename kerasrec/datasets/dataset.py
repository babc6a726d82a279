"""Result of `load`: interactions, side tables and notes."""

import dataclasses

import numpy as np
import pyarrow as pa

from kerasrec.data import Interactions, Split
from kerasrec.datasets.optimum import Optimum


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Data set with interactions, side tables, terms and notes.

    Args:
        name: name it was loaded by.
        interactions: all rows, unsplit, with the side tables.
        users: side table of the users, one row each, with the id column named and typed as in the
            interactions. None if there is none.
        items: side table of the items, with titles in the column `title`, years of release in
            `year` and genres in `genres`.
        terms: terms of use.
        notes: peculiarities of the rows, such as rows left out.
        split: the published parts, for sets that have them, without validation rows.
        negatives: raw item ids `(test rows, n)` to rank each test item among, if published.
        optimum: the model the rows were drawn from, for synthetic data.
    """

    name: str
    interactions: Interactions
    users: pa.Table | None = None
    items: pa.Table | None = None
    terms: str = ""
    notes: tuple[str, ...] = ()
    split: Split | None = None
    negatives: np.ndarray | None = None
    optimum: Optimum | None = None

    def __post_init__(self) -> None:
        def with_tables(rows: Interactions) -> Interactions:
            return rows.with_tables(users=self.users, items=self.items, missing_sides="unknown")

        rows = with_tables(self.interactions)
        for name, value in (("interactions", rows), ("users", rows.users), ("items", rows.items)):
            object.__setattr__(self, name, value)
        if self.split is not None:
            parts = {n: with_tables(getattr(self.split, n)) for n in ("train", "valid", "test")}
            object.__setattr__(self, "split", dataclasses.replace(self.split, **parts))

    def __repr__(self) -> str:
        tables = {"users": self.users, "items": self.items}
        sides = [f"{side}: {table.column_names}" for side, table in tables.items() if table]
        return f"Dataset({', '.join([repr(self.name), repr(self.interactions), *sides])})"

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
        name: what it was loaded by.
        interactions: all rows, unsplit.
        users: what is known of the users, one row each; the id column is named and typed as in
            the interactions. None where nothing is known.
        items: the same of the items; titles are in the column `title`, genres in `genres`.
        terms: what the data may be used for.
        notes: peculiarities of these very rows, such as rows left out.
        split: the published parts, for sets that come with them; without validation rows.
        negatives: raw item ids `(test rows, n)` to rank each test item among, where they are given.
        optimum: the truth the rows were drawn from, for synthetic data.
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

    def __repr__(self) -> str:
        tables = {"users": self.users, "items": self.items}
        sides = [f"{side}: {table.column_names}" for side, table in tables.items() if table]
        return f"Dataset({', '.join([repr(self.name), repr(self.interactions), *sides])})"

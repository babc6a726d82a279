"""Ranking tasks: the test rows and the protocol, made once for all models."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from kerasrec._checks import check_choice, check_integer
from kerasrec.evaluation.columns import check_columns, check_ids, known
from kerasrec.evaluation.ranking.queries import (
    Per,
    Queries,
    SeenColumns,
    SeenPairs,
    make_queries,
    seen_parts,
)
from kerasrec.schema import FIRST_ID, Schema
from kerasrec.types import Columns


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """Item ids to rank each test row's positive among, and the method of sampling.

    Args:
        ids: `(test rows, c)`. Padding is not a candidate.
        method: name of the method for the protocol, such as `"uniform (seed 0)"`.
    """

    ids: np.ndarray
    method: str = "given"


class TaskOptions(TypedDict, total=False):
    """Fields of `RankingTask` except the test rows, as keyword arguments."""

    seen: SeenColumns
    k: int | Sequence[int]
    candidates: np.ndarray | Candidates | None
    items: Columns | None
    per: Per
    drop_repeats: bool
    max_memory_mb: int


@dataclasses.dataclass(frozen=True, eq=False)
class RankingTask:
    """Test rows, and how they are ranked. The same task can be given to every model.

    A query is a user, or with `per="row"` a test row. The unit belongs to the task and not to the
    model, so that models with different features are measured on the same queries. The positives
    of a user are the test items that are positives by `Schema.positive`, or all test items without
    a label column. They are all ranked in one list.

    The rules for candidates and positives are:

    - Padding and unknown ids are never candidates.
    - Items of the user in `seen` are not candidates, whatever their label, except the query's
      positives.
    - Test items with other labels (shown and not clicked, rated low) are not hits. They stay
      candidates, and a query without positives is left out. `negative_rows` counts these rows.
    - A test row that repeats a seen pair counts as a positive, since people do come back, unless
      `drop_repeats` leaves it out of the test set. `repeated_rows` counts these rows.
    - A (query, item) pair that occurs twice in the test set counts once.
    - Rows of users without training rows are left out, since all of them share the unknown id.
      `unknown_user_rows` counts these rows.
    - Test items that are unknown or none of the `candidates` cannot be recommended, so they count
      as missed. `unknown_item_rows` counts these rows.

    Args:
        test: encoded test rows: the query side features, the item id and, if there is one, the
            label.
        seen: encoded rows whose items are removed from a user's list: usually the training rows, or
            a list of the training and the validation rows. None removes nothing.
        k: cutoffs.
        candidates: encoded ids `(c,)` of the only items that can be recommended, such as those in
            stock; by default all known items. Or item ids `(test rows, c)` to rank each row's
            positive among, instead of the catalogue. Metrics of this sampled protocol are not
            comparable with others. Each test row is a query. The positive is added where missing,
            and repeated ids count once. `sample_candidates` draws candidates.
        items: item features by encoded id, `(num_ids, ...)`, such as `PreparedData.items`. Models
            that read only the item id need none.
        per: `"user"`: one list for each user. Its other query side features (the history, the
            context) are those of the user's first test row. `"row"`: one list for each test row,
            with the features of that row and its item as the only positive. The user's other test
            items are candidates. Given candidates are always ranked by row.
        drop_repeats: leave out test rows whose (user, item) pair is in `seen`.
        max_memory_mb: bound for the arrays that grow with queries or items. There is at least one
            query per block. Vectors of the catalogue are not included.

    Raises:
        ValueError: if `k`, `per`, `max_memory_mb`, or the type of the rows is wrong.

    Example:

    >>> train, test = ({"user": np.array([2]), "item": np.array([i])} for i in (11, 9))
    >>> RankingTask(test, seen=train, k=[5, 1]).cutoffs
    (1, 5)
    """

    test: Columns
    seen: SeenColumns
    k: int | Sequence[int] = (10,)
    candidates: np.ndarray | Candidates | None = None
    items: Columns | None = None
    per: Per = "user"
    drop_repeats: bool = False
    max_memory_mb: int = 128

    def __post_init__(self) -> None:
        if not isinstance(self.test, Mapping):
            raise ValueError(
                "rank: test expects encoded columns (a dict of arrays) or a RankingTask; received "
                f"{type(self.test).__name__}. Encode the test rows with kerasrec.data.encode."
            )
        seen_parts(self.seen)
        hint = "These are one list for each user, and one for each test row."
        check_choice("rank", "per", self.per, ("user", "row"), hint=hint)
        check_integer("rank", "max_memory_mb", self.max_memory_mb, 1, numpy=True)
        several: Any = [self.k] if np.ndim(self.k) == 0 else self.k
        if not len(several):
            raise ValueError("rank: k expects integers such as 10 or (5, 10); received none.")
        for at in several:
            check_integer("rank", "k", at, 1, numpy=True, hint="Pass 10, or several: (5, 10).")

    @classmethod
    def of(cls, test: "Columns | RankingTask", options: TaskOptions) -> "RankingTask":
        """Return the task of test rows and options, or a task with the options replaced.

        Raises:
            ValueError: if test rows come without `seen`.
        """
        if isinstance(test, RankingTask):
            return dataclasses.replace(test, **options)
        if "seen" not in options:
            raise ValueError(
                "rank: expected `seen`, the rows whose items are left out of a user's list; "
                "received none. Pass the encoded training rows, several parts as [train, valid], "
                "or None to leave nothing out."
            )
        return cls(test, **options)

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """Return the values of k, ascending and distinct."""
        return tuple(np.unique(self.k).tolist())

    @property
    def sampled(self) -> Candidates | None:
        """Return the candidates of each test row; None without a sampled protocol."""
        given = self.candidates
        if given is None or isinstance(given, Candidates):
            return given
        return None if np.ndim(given) == 1 else Candidates(np.asarray(given))

    def catalogue(self, schema: Schema) -> dict[str, np.ndarray]:
        """Return the features of all items that can be recommended, one row each.

        Raises:
            ValueError: if the model reads features that `items` lacks, it has another number of
                rows than there are ids, or an id cannot be recommended.
        """
        own = schema.item_id
        ids = np.arange(FIRST_ID, own.num_ids, dtype=np.int32)
        if self.candidates is not None and self.sampled is None:
            ids = _listed_ids(np.asarray(self.candidates), schema)
        columns = {own.name: ids}
        if others := [f for f in schema.item if f != own]:
            if self.items is None:
                raise ValueError(
                    f"rank: this model reads the item features {[f.name for f in others]}; "
                    "received no `items`. Pass PreparedData.items, the features by encoded id."
                )
            check_columns(self.items, [f.name for f in others], what="rank: items")
            for feature in others:
                values = np.asarray(self.items[feature.name])
                if len(values) != own.num_ids:
                    raise ValueError(
                        f"rank: items[{feature.name!r}] needs one row per encoded id, padding and "
                        f"unknown included: {own.num_ids}; received {len(values)}. To rank fewer "
                        "items, pass their ids as candidates."
                    )
                columns[feature.name] = values[ids]
        return columns

    def queries(self, schema: Schema, seen: SeenPairs) -> Queries:
        """Group the test rows into queries, see `make_queries`."""
        names = [feature.name for feature in schema.query] + [schema.item_id.name]
        names += [schema.label] if schema.label in self.test else []
        check_columns(self.test, names, what="rank: test")
        per = self.per if self.sampled is None else "row"
        return make_queries(self.test, schema, seen, drop_repeats=self.drop_repeats, per=per)

    def prepare(self, schema: Schema) -> "PreparedTask":
        """Make the queries and the candidates for models of a schema.

        Raises:
            ValueError: if the test set has no positive (or none without unknown users and dropped
                repeats), k exceeds the catalogue, or a column is missing or badly encoded.
        """
        items = self.catalogue(schema)
        seen = SeenPairs.of(self.seen, schema)
        queries = self.queries(schema, seen)
        rows = len(self.test[schema.item_id.name])
        ids = np.asarray(items[schema.item_id.name])
        protocol, width, given = "full catalogue", len(ids), None
        if (candidates := self.sampled) is not None:
            given = _candidate_ids(candidates.ids, schema, rows)[queries.test_row]
            protocol = f"sampled, {given.shape[1]} {candidates.method} candidates"
            width = given.shape[1] + 1
        if self.cutoffs[-1] > width:
            raise ValueError(
                f"rank: k={self.cutoffs[-1]} exceeds the {width} candidates there are "
                f"({protocol}). Use k of at most {width}."
            )
        position = positions_of(ids, schema)
        facts: dict[str, float | int | str] = {
            "protocol": protocol,
            "per": self.per if given is None else "row",
            "users": len(np.unique(queries.features[schema.user_id.name])),
            "queries": len(queries.test_row),
            "candidates": width,
            "test_rows": rows,
            "negative_rows": queries.negative_rows,
            "unknown_user_rows": queries.unknown_user_rows,
            "unknown_item_rows": int((position[queries.item] < 0).sum()),
            "repeated_rows": queries.repeated_rows,
        }
        return PreparedTask(schema, items, queries, seen, position, given, facts)


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedTask:
    """Task for the models of one schema: the queries, the seen pairs and the candidates.

    Args:
        schema: names of the features.
        items: item features, one row per item of the catalogue.
        queries: queries and positives.
        seen: pairs that are not candidates.
        position: `(item ids,)` row of the item in the catalogue, -1 if it has none.
        candidates: item ids `(queries, c)` of a sampled protocol; None for the catalogue.
        facts: protocol and counts.
    """

    schema: Schema
    items: Columns
    queries: Queries
    seen: SeenPairs
    position: np.ndarray
    candidates: np.ndarray | None
    facts: dict[str, float | int | str]


def positions_of(ids: np.ndarray, schema: Schema) -> np.ndarray:
    """Return the row of every item id in a catalogue, -1 if it has none."""
    position = np.full(schema.item_id.num_ids, -1)
    position[ids] = np.arange(len(ids))
    return position


def _listed_ids(candidates: np.ndarray, schema: Schema) -> np.ndarray:
    """Return the ids `(c,)` of the items that can be recommended, validated."""
    if not len(candidates):
        raise ValueError("rank: candidates expects at least one item id; received none.")
    ids = check_ids(candidates, schema.item_id, what="rank: candidates")
    if not known(ids).all() or len(np.unique(ids)) < len(ids):
        raise ValueError(
            f"rank: candidates expects known item ids, each once; received {len(ids)} ids with "
            f"{(~known(ids)).sum()} of padding or unknown items and "
            f"{len(ids) - len(np.unique(ids))} repeated ones. Leave those out."
        )
    return ids.astype(np.int32)


def _candidate_ids(candidates: np.ndarray, schema: Schema, rows: int) -> np.ndarray:
    candidates = np.asarray(candidates)
    if candidates.ndim != 2 or len(candidates) != rows or not candidates.shape[1]:
        raise ValueError(
            f"rank: candidates expects item ids of shape (test rows, c) = ({rows}, c); received "
            f"{candidates.shape}."
        )
    return check_ids(candidates, schema.item_id, what="rank: candidates")

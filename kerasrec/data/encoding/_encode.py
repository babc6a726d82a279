"""Encoding of interactions to numpy columns and a schema."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from kerasrec.data.encoding.buckets import HashBuckets
from kerasrec.data.encoding.counting import vocabularies_of_files
from kerasrec.data.encoding.scalers import fitted_scale
from kerasrec.data.encoding.side_features import refuse_label
from kerasrec.data.encoding.vocabulary import Vocabulary
from kerasrec.data.encoding.vocabulary_file import Encoder
from kerasrec.data.tables.interactions import Interactions
from kerasrec.data.tables.opening import Paths
from kerasrec.data.tables.side_tables import side_of
from kerasrec.schema import (
    ANY_POSITIVE_LABEL,
    FIRST_ID,
    Categorical,
    Feature,
    Hashed,
    Numeric,
    Schema,
)

IMPLICIT_LABEL = "label"


def fit_vocabularies(
    train: Interactions | Paths,
    *,
    columns: Sequence[str] = ("user_id", "item_id"),
    min_count: int = 1,
    positive: str = ANY_POSITIVE_LABEL,
) -> dict[str, Vocabulary]:
    """Fit a vocabulary for the user, the item and each context column that holds ids.

    The counts of the item vocabulary are popularity: the rows whose label is a positive. Without a
    label, for files, and in the other vocabularies, all rows count.

    Args:
        train: the training rows only, so that other ids stay unknown. Or Parquet files of them: a
            file, several, or a folder. Files are counted piece by piece and may be larger than
            memory.
        columns: for files, the columns of ids: user, item, then categories.
        min_count: ids with fewer training rows, of any label, become unknown too. Their rows then
            train the unknown id.
        positive: which labels are positives. Give `make_schema` the same rule.

    Raises:
        ValueError: if there are no rows or only one user or item, `min_count` leaves no ids, a file
            is invalid, or `positive` is not a comparison with a number or is given for files.

    Example:

    >>> rows = Interactions.from_table(
    ...     {"user_id": [7, 9], "item_id": ["a", "b"], "rating": [4, 5]}, time=None)
    >>> vocabularies = fit_vocabularies(rows)
    >>> {name: values.tolist() for name, values in encode(rows, vocabularies).items()}
    {'user_id': [2, 3], 'item_id': [2, 3], 'rating': [4.0, 5.0]}
    """
    if isinstance(train, Interactions):
        if not len(train):
            raise ValueError(
                "fit_vocabularies: received no rows; expected the training rows. Check the split."
            )
        roles = {"user": train.user, "item": train.item}
        vocabularies = {
            name: Vocabulary.fit(train.table[name], name)
            for name in (train.user, train.item, *train.context)
            if not _is_float(train, name)
        }
    else:
        if positive != ANY_POSITIVE_LABEL:
            raise ValueError(
                "fit_vocabularies: of files all rows are counted, whatever their label; received "
                f"positive={positive!r}. Leave it out and give it to make_schema alone, or fit on "
                "Interactions."
            )
        vocabularies = vocabularies_of_files(train, columns)
        roles = dict(zip(("user", "item"), columns, strict=False))
    vocabularies = {name: found.frequent(min_count) for name, found in vocabularies.items()}
    for role, name in roles.items():
        vocabulary = vocabularies[name]
        if len(vocabulary) < 2:
            rows = f"all {vocabulary.counts[0]} training rows have"
            if min_count > 1:
                rows = f"with min_count={min_count} what is left has"
            raise ValueError(
                f"fit_vocabularies: nothing can be learned from a single {role}; {rows} {name!r} "
                f"== {vocabulary.ids.tolist()[0]!r}. Give rows of at least two {role}s."
            )
    if isinstance(train, Interactions):
        vocabularies[train.item] = _popularity(train, vocabularies[train.item], positive)
    return vocabularies


def _popularity(train: Interactions, items: Vocabulary, positive: str) -> Vocabulary:
    """Return the item vocabulary with the numbers of positives as counts."""
    if train.label is None:
        return items
    user, item = Categorical(train.user, FIRST_ID + 1), Categorical(train.item, items.num_ids)
    rule = Schema((user,), (item,), positive=positive)
    chosen = np.asarray(rule.is_positive(train.column(train.label)))
    if chosen.all():
        return items
    ids = items.encode(train.table[train.item])[chosen]
    return Vocabulary(items.ids, np.bincount(ids, minlength=items.num_ids)[FIRST_ID:], items.name)


def make_schema(
    train: Interactions,
    vocabularies: Mapping[str, Encoder],
    *,
    positive: str = ANY_POSITIVE_LABEL,
) -> Schema:
    """Make the schema of encoded interactions: ids as `Categorical`, floats as `Numeric`.

    Floats get the mean and the standard deviation of the training rows, by which models scale them.
    A column of floats in `vocabularies`, where it has `Buckets`, becomes a `Categorical` as well,
    and one of ids that has `HashBuckets` there a `Hashed`.

    A context column that is constant within each user becomes a user feature. One that is constant
    within each item is rejected, since on the query side it would reveal the item to the model.

    Args:
        train: interactions whose roles and column types the schema describes.
        vocabularies: the result of `fit_vocabularies`.
        positive: which labels are positives, such as `">=4"`; see `Schema`.

    Raises:
        ValueError: if a vocabulary is missing, a context column describes the item, or `positive`
            is not a comparison with a number.
    """

    def feature(name: str) -> Feature:
        if _is_number(train, name, vocabularies):
            mean, deviation = fitted_scale(train.column(name))
            refuse_label(train, train.column(name), f"the context column {name!r}")
            return Numeric(name, mean=mean, deviation=deviation)
        vocabulary = _vocabulary(vocabularies, name)
        if isinstance(vocabulary, HashBuckets):
            about = (vocabulary.num_ids, vocabulary.num_hashes)
            return Hashed(name, *about, fingerprint=vocabulary.fingerprint)
        return Categorical(name, vocabulary.num_ids, fingerprint=vocabulary.fingerprint)

    users, items = train.codes(train.user), train.codes(train.item)
    sides = {name: side_of(train.codes(name), users, items) for name in train.context}
    if given_away := [name for name, side in sides.items() if side == "item"]:
        raise ValueError(
            f"make_schema: the context columns {given_away} have one value in all rows of each "
            f"{train.item!r}, so they describe the item and would reveal it to a model that "
            "reads them beside the user. Leave them out of the context (--context on "
            "the command line), or make them item features in a Schema of your own."
        )
    return Schema(
        user=(feature(train.user), *(feature(n) for n, side in sides.items() if side == "user")),
        item=(feature(train.item),),
        context=tuple(feature(n) for n, side in sides.items() if side == "context"),
        label=train.label or IMPLICIT_LABEL,
        positive=positive,
        time=train.time,
    )


def encode(
    interactions: Interactions, vocabularies: Mapping[str, Encoder]
) -> dict[str, np.ndarray]:
    """Encode to numpy columns: ids int32 (unknown ones 1), floats and label float32, time int64.

    Args:
        interactions: rows of any part of the split.
        vocabularies: the result of `fit_vocabularies` on the training rows.

    Returns:
        Arrays `(rows,)` by column name; without a label column, ones under "label".

    Raises:
        ValueError: if a vocabulary is missing or holds ids of another type.
    """
    encoded = {
        name: interactions.column(name)
        if _is_number(interactions, name, vocabularies)
        else _vocabulary(vocabularies, name).encode(interactions.table[name])
        for name in (interactions.user, interactions.item, *interactions.context)
    }
    if interactions.time is not None:
        encoded[interactions.time] = interactions.column(interactions.time)
    if interactions.label is not None:
        encoded[interactions.label] = interactions.column(interactions.label)
    elif IMPLICIT_LABEL in encoded:
        raise ValueError(
            f"encode: without a label column, ones go to the name {IMPLICIT_LABEL!r}, which is "
            "taken by another role. Rename that column, or pass it as the label."
        )
    else:
        encoded[IMPLICIT_LABEL] = np.ones(len(interactions), np.float32)
    return encoded


def _is_float(interactions: Interactions, name: str) -> bool:
    return bool(pa.types.is_floating(interactions.table[name].type))


def _is_number(rows: Interactions, name: str, vocabularies: Mapping[str, Encoder]) -> bool:
    return _is_float(rows, name) and name not in vocabularies


def _vocabulary(vocabularies: Mapping[str, Encoder], name: str) -> Encoder:
    if name not in vocabularies:
        raise ValueError(
            f"encode: there is no vocabulary for the column {name!r}; received those of "
            f"{list(vocabularies)}. Fit them on training rows with the same roles."
        )
    return vocabularies[name]

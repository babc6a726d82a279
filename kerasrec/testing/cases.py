"""Model cases and the small data that the checks run on."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasrec.schema import (
    FIRST_ID,
    Bag,
    BagWeights,
    Categorical,
    Feature,
    IdSequence,
    Numeric,
    NumericSequence,
    Schema,
)
from kerasrec.types import Autoencoder


def tiny_schema(
    *, num_users: int = 11, num_items: int = 17, features: bool = False, sides: bool = True
) -> Schema:
    """Return a schema for tests with different numbers of users and items.

    Args:
        num_users: number of real users, besides padding and unknown.
        num_items: number of real items, besides padding and unknown.
        features: whether to add one feature of each kind.
        sides: whether there are users and items. If not, the schema is that of a table with
            columns of every kind.

    Example:

    >>> tiny_schema().item_id.num_ids
    19
    >>> [feature.kind for feature in tiny_schema(sides=False).features]
    ['categorical', 'numeric', 'bag', 'numeric', 'numeric_sequence']
    """
    if not sides:
        columns: list[Feature] = [
            Categorical("device", 5),
            Numeric("age", mean=40.0, deviation=12.0),
            Bag("genres", 9, max_length=3),
            Numeric("picture", size=2),
            NumericSequence("steps", of="step", max_length=3),
        ]
        return Schema(context=tuple(columns), label="label")
    user: list[Feature] = [Categorical("user_id", num_users + FIRST_ID)]
    item: list[Feature] = [Categorical("item_id", num_items + FIRST_ID)]
    context: list[Feature] = []
    if features:
        user.append(Numeric("age"))
        item += [Bag("genres", 6, max_length=3), Numeric("picture", size=2)]
        context = [Categorical("device", 5), IdSequence("history", of="item_id", max_length=4)]
    return Schema(tuple(user), tuple(item), tuple(context), label="label")


@dataclasses.dataclass(frozen=True)
class ModelCase:
    """Facts about a model, passed to `check_model`.

    Args:
        model: the model class.
        num_params: number of parameters for this schema and these arguments, best written as a
            formula.
        schema: the features, with at least 9 users and 9 items, and different numbers of both, or
            without users and items. The model is made with all of them, and called with those that
            it reads. Checks of candidates, rankings and retrieval need users and items.
        kwargs: constructor arguments; leave dropout at 0, so that runs are comparable.
        trains: whether it is trained by gradients; False for counts and closed forms.
        adds_up: whether the features add up, so that it cannot learn who likes what.

    Raises:
        ValueError: if the schema is too small or square.

    Example:

    >>> from kerasrec.models import MatrixFactorization
    >>> case = ModelCase(
    ...     MatrixFactorization,
    ...     num_params=13 * (4 + 1) + 19 * (4 + 1) + 1,
    ...     kwargs={"embedding_dim": 4},
    ... )
    """

    model: Any
    num_params: int
    schema: Schema = dataclasses.field(default_factory=tiny_schema)
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trains: bool = True
    adds_up: bool = False
    given: Schema = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", self.schema)
        if hasattr(self.model, "narrow"):
            object.__setattr__(self, "schema", self.model.narrow(self.schema))
        if not self.has_sides:
            return
        users = self.schema.user_id.num_ids - FIRST_ID
        items = self.schema.item_id.num_ids - FIRST_ID
        if min(users, items) < 9 or users == items:
            raise ValueError(
                "ModelCase: the checks need at least 9 users and 9 items, and not as many users as "
                f"items; received {users} users and {items} items."
            )

    @property
    def has_sides(self) -> bool:
        """Return whether there are users and items, so that the model can rank."""
        return bool(self.schema.user and self.schema.item)

    def new(self, **more: Any) -> Any:
        """Return a new model. One that keeps the items of users gets three of each user."""
        model = self.model(self.given, **{**self.kwargs, **more})
        if isinstance(model, Autoencoder):
            model.keep_rows(three_items(self.schema))
        return model


def three_items(schema: Schema) -> dict[str, np.ndarray]:
    """Return rows of three items of each user.

    Args:
        schema: schema with the ids.

    Example:

    >>> three_items(tiny_schema())["item_id"][:6].tolist()
    [2, 3, 4, 3, 4, 5]
    """
    users = schema.user_id.num_ids - FIRST_ID
    items = schema.item_id.num_ids - FIRST_ID
    user, step = np.divmod(np.arange(3 * users), 3)
    ids = {schema.user_id.name: user, schema.item_id.name: (user + step) % items}
    return {name: (values + FIRST_ID).astype("int32") for name, values in ids.items()}


def random_inputs(
    schema: Schema, batch_size: int, *, candidates: int | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return random encoded inputs, with bags and sequences that end in padding.

    Args:
        schema: the features.
        batch_size: number of rows.
        candidates: if given, item features get a candidate axis of this length.
        seed: random seed.

    Returns:
        dict of arrays `(batch_size,) + shape` or, for item features with candidates,
        `(batch_size, candidates) + shape`.

    Example:

    >>> random_inputs(tiny_schema(), 3, candidates=5)["item_id"].shape
    (3, 5)
    """
    rng = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {}
    lengths_by_width: dict[int, np.ndarray] = {}
    ids_beside = any(f.is_history and f.has_ids for f in schema.query)
    for feature in schema.features:
        lead: tuple[int, ...] = (batch_size,)
        if candidates is not None and feature in schema.item:
            lead = (batch_size, candidates)
        shape = (*lead, *feature.shape)
        width = feature.shape[0] if feature.is_padded else 0
        if isinstance(feature, Numeric):
            numbers = np.vectorize(feature.raw, otypes=[np.float32])(rng.normal(size=shape))
            inputs[feature.name] = numbers
            if feature.is_history and not ids_beside:
                if width not in lengths_by_width:  # numbers of the same events
                    lengths_by_width[width] = rng.integers(0, width + 1, size=lead)
                ends = lengths_by_width[width][..., None]
                inputs[feature.name][np.arange(width) >= ends] = np.nan
            continue
        ids = rng.integers(FIRST_ID, schema.num_ids(feature.name), size=shape, dtype="int32")
        if feature.is_padded:
            lengths = rng.integers(0, width + 1, size=lead)
            ids[np.arange(width) >= lengths[..., None]] = 0
        inputs[feature.name] = ids
    return inputs


def neutral_inputs(
    schema: Schema, users: np.ndarray, items: np.ndarray, history: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return inputs that differ only in user id, item id and histories.

    Args:
        schema: the features.
        users: encoded user ids `(batch,)`.
        items: encoded item ids `(batch,)` or `(batch, candidates)`.
        history: first ids of the sequences of the item id, `(batch, length)`.
    """
    inputs: dict[str, np.ndarray] = {}
    for feature in schema.features:
        lead = items.shape if feature in schema.item else users.shape
        inputs[feature.name] = np.zeros((*lead, *feature.shape), feature.dtype)
        if feature in schema.item_histories:
            known = np.zeros((len(users), 0), np.int32) if history is None else history
            known = known[:, : feature.shape[0]]
            inputs[feature.name][:, : known.shape[1]] = known
    inputs[schema.user_id.name] = users.astype("int32")
    inputs[schema.item_id.name] = items.astype("int32")
    return inputs


def scattered(
    schema: Schema, inputs: Mapping[str, np.ndarray], more: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Move the padding of bags and of the query's histories to random positions.

    Padding then stands between the ids and in front of them. Numeric sequences move in step with
    the item history.

    Args:
        schema: the features.
        inputs: one array per feature, without a candidate axis.
        more: number of positions to add to the histories.
        seed: random seed of the positions.

    Example:

    >>> schema = tiny_schema(features=True)
    >>> inputs = random_inputs(schema, 5)
    >>> wide = scattered(schema, inputs, 2)
    >>> inputs["history"].shape, wide["history"].shape
    ((5, 4), (5, 6))
    >>> [row[row > 0].tolist() for row in wide["history"]] == [
    ...     row[row > 0].tolist() for row in inputs["history"]
    ... ]
    True
    """
    moved = dict(inputs)
    histories = [f for f in schema.query if f.is_history]
    ids = next((f for f in histories if f.has_ids), None)
    for feature in schema.features:
        if not feature.is_padded or (feature.is_history and feature not in histories):
            continue
        values = inputs[feature.name]
        width = values.shape[1] + (more if feature in histories else 0)
        numbers = not feature.has_ids
        shown = inputs[ids.name] if ids and numbers else values
        if isinstance(feature, BagWeights):
            shown = inputs[feature.of]
        real = shown != 0 if shown.dtype.kind in "iu" else ~np.isnan(shown)
        real = real.reshape(*real.shape[:2], -1).any(axis=-1)
        moved[feature.name] = np.full(
            (len(values), width, *values.shape[2:]), np.nan if numbers else 0, values.dtype
        )
        for row, there in enumerate(real):
            # The positions depend on row and number only, and so agree between histories.
            rng = np.random.default_rng([seed, row, int(there.sum())])
            places = np.sort(rng.permutation(width)[: there.sum()])
            moved[feature.name][row, places] = values[row, there]
    return moved

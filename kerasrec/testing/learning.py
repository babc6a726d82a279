"""Check of the contract kit that a model learns what its data say."""

import keras
import numpy as np

from kerasrec.schema import FIRST_ID, Categorical, Numeric
from kerasrec.testing.assertions import demand, score
from kerasrec.testing.cases import ModelCase, neutral_inputs, random_inputs
from kerasrec.types import Autoencoder


def check_learns(case: ModelCase) -> None:
    """Check that the model learns a withheld answer.

    Users like every third item, each with a different offset. The table is rectangular and
    asymmetric, so a model that mixes up users and items fails. Models with several logits do not
    rank and are skipped. A model whose features add up, and one of a table without users and items,
    must find the rows of which more columns are high than low, as they are in a second table.
    """
    if not case.trains or case.new().output_kind == "logits":
        return
    keras.utils.set_random_seed(0)
    if case.adds_up or not case.has_sides:
        _check_sum_is_learned(case)
        return
    schema = case.schema
    users = np.arange(schema.user_id.num_ids - FIRST_ID)
    items = np.arange(schema.item_id.num_ids - FIRST_ID)
    likes = items[None, :] % 3 == (2 * users[:, None] + 1) % 3  # (users, items)
    liked = [np.flatnonzero(row) for row in likes]
    withheld = np.array([own[user // 3 % len(own)] for user, own in enumerate(liked)])
    train = np.ones_like(likes)
    train[users, withheld] = False
    user, item = np.nonzero(train)
    model = case.new()
    if isinstance(model, Autoencoder):
        liked_rows = np.argwhere(likes & train) + FIRST_ID
        names = (schema.user_id.name, schema.item_id.name)
        model.keep_rows(dict(zip(names, liked_rows.T, strict=True)))
    model.compile(keras.optimizers.Adam(0.03), keras.losses.BinaryCrossentropy(from_logits=True))
    # Models that use histories instead of the user id get two liked items, newest last.
    hints = [
        [i + FIRST_ID for i in own if i != w][:2] for own, w in zip(liked, withheld, strict=True)
    ]
    columns = neutral_inputs(schema, user + FIRST_ID, item + FIRST_ID, np.array(hints)[user])
    model.fit(columns, likes[train].astype("float32"), batch_size=32, epochs=40, verbose=0)
    everything = np.broadcast_to(items + FIRST_ID, likes.shape)
    scores = score(model, neutral_inputs(schema, users + FIRST_ID, everything, np.array(hints)))
    best_other = np.where(likes, -np.inf, scores).max(axis=1)
    found = scores[users, withheld] > best_other
    demand(found.all(), case, f"ranks the withheld item first ({found.mean():.0%} of users)")


def _check_sum_is_learned(case: ModelCase) -> None:
    """Check that the model finds the rows whose columns add up to more than 0."""
    tables = [random_inputs(case.schema, rows, seed=seed) for seed, rows in enumerate((1024, 512))]
    labels = []
    for inputs in tables:
        total = np.zeros(len(next(iter(inputs.values()))))
        for feature in case.schema.features:
            values = inputs[feature.name]
            if isinstance(feature, Numeric) and not feature.is_padded:
                if feature.log:
                    values = np.sign(values) * np.log1p(np.abs(values))
                scale = (values - feature.mean) / feature.deviation
                total += scale.reshape(len(values), -1).sum(axis=1)
            elif isinstance(feature, Categorical):
                total += np.where(values % 2, 1.0, -1.0)
        labels.append((total > 0).astype("float32"))
    model = case.new()
    model.compile(keras.optimizers.Adam(0.03), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(tables[0], labels[0], batch_size=32, epochs=10, verbose=0)
    scores = score(model, tables[1])
    right = scores[labels[1] > 0][:, None] > scores[labels[1] == 0]
    demand(right.mean() > 0.93, case, f"orders pairs of new rows ({right.mean():.0%} of them)")

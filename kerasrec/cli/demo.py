"""Complete example in one function, from ratings to a served model."""

from typing import Any

import kerasrec
from kerasrec.cli.quiet import import_tensorflow
from kerasrec.types import Columns

USER = 196  # the first one in the file


def demo(*, directory: str = "served/movielens-100k") -> None:
    """Run all steps on MovieLens 100K: audit, train, compare, export, verify, recommend.

    Args:
        directory: folder of the exported versions. Each run adds a version.
    """
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    dataset = kerasrec.datasets.load("movielens-100k")
    print(kerasrec.data.audit(dataset.interactions), end="\n\n")

    # The last film of each user is the test row. The one before it selects epoch and model.
    split = kerasrec.data.leave_last_out(dataset.interactions)
    print(split.describe(), end="\n\n")
    vocabularies = kerasrec.data.fit_vocabularies(split.train)
    schema = kerasrec.data.make_schema(split.train, vocabularies)
    train, valid, test = (
        kerasrec.data.encode(part, vocabularies) for part in (split.train, split.valid, split.test)
    )

    models = {
        "Popularity": kerasrec.models.Popularity(schema),
        "MatrixFactorization": kerasrec.models.MatrixFactorization(
            schema, embedding_dim=32, l2=1e-3
        ),
        "EmbeddingMLP": kerasrec.models.EmbeddingMLP(
            schema, embedding_dim=32, hidden_units=(64, 32), l2=1e-3
        ),
    }
    models["Popularity"].adapt(train)
    _fit(models["MatrixFactorization"], train, valid, learning_rate=0.005)
    _fit(models["EmbeddingMLP"], train, valid, learning_rate=0.002)

    chosen = kerasrec.evaluation.compare(models, valid, seen=train)
    best = str(max(chosen, key=lambda row: row["ndcg@10"])["model"])
    rows = kerasrec.evaluation.compare(models, test, seen=[train, valid])
    print(kerasrec.evaluation.format_table(rows), end="\n\n")

    path = kerasrec.serving.export(models[best], directory, vocabularies=vocabularies)
    print(f"{best} is the best on the validation rows, and exported:")
    print(kerasrec.serving.verify(path), end="\n\n")

    served = kerasrec.serving.load(path)
    mine = dataset.interactions.column("user_id") == USER
    seen = dataset.interactions.column("item_id")[mine]
    items = dataset.items.to_pylist()
    titles = {item["item_id"]: item["title"] for item in items}
    print(f"User {USER} has rated {len(seen)} films. Ten others, from the exported model:")
    (answer,) = served.recommend({"user_id": [USER]}, exclude=[seen]).rows()
    for item, score in answer:
        print(f"{score:>8.3f}  {titles[item]}")
    print(f"\nServe it:\n{kerasrec.serving.serve_command(directory)}")
    print(f"\nAsk it:\n{kerasrec.serving.curl_command(directory)}")


def _fit(model: Any, train: Columns, valid: Columns, *, learning_rate: float) -> None:
    """Train by cross-entropy with four unseen films for each seen one."""
    import keras

    print(f"\n{type(model).__name__}: {model.count_params():,} parameters")
    batch_size, epochs = 4096, 30
    batches = kerasrec.data.with_negatives(train, model.schema, batch_size=batch_size)
    held_out = kerasrec.data.with_negatives(
        valid, model.schema, batch_size=batch_size, seen=train, negatives=99, shuffle=False
    ).cache()
    schedule = kerasrec.optimizers.inverse_time_decay(
        learning_rate,
        examples=len(batches) * batch_size,
        batch_size=batch_size,
        epochs=epochs,
    )
    model.compile(
        optimizer=kerasrec.optimizers.Adam(schedule, clipnorm=1.0),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=True,
    )
    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    kerasrec.training.keep_freed_memory()
    model.fit(batches, validation_data=held_out, epochs=epochs, callbacks=[stop], shuffle=False)

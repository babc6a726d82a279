"""Complete example in one function, from ratings to a served model."""

import shlex
from typing import Any

import kerasrec
from kerasrec.cli.terminal import import_tensorflow

USER = 196  # the first one in the file
# What is given to `kerasrec.runs.fit`. The rules choose the rest, as in `kerasrec fit` without
# flags, where SASRec reads longer histories and trains for longer.
TRAINED: dict[str, dict[str, Any]] = {
    "EASE": {},
    "ImplicitALS": {},
    "MatrixFactorization": {"epochs": 12},
    "EmbeddingMLP": {"epochs": 8},
    "SASRec": {
        "max_length": 50,
        "epochs": 10,
        "learning_rate": 0.003,
        "arguments": {"embedding_dim": 64},
    },
}


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
    ready = kerasrec.data.prepare(split)

    kerasrec.training.keep_freed_memory()
    models: dict[str, Any] = {"Popularity": kerasrec.models.Popularity(ready.schema)}
    models["Popularity"].adapt(ready.train)
    rows = ready  # with the history that the last model reads, which the others ignore
    for name, given in TRAINED.items():
        print(f"\n{name}", flush=True)
        found = kerasrec.runs.fit(name, ready, **given)
        models[name] = found.model
        rows = found.ready if found.ready.schema.item_histories else rows

    seen = [rows.train, rows.valid]
    # Features of the films, which the perceptron reads, are looked up by id.
    chosen = kerasrec.evaluation.compare(models, rows.valid, seen=rows.train, items=rows.items)
    best = str(max(chosen, key=lambda row: row["ndcg@10"])["model"])
    table = kerasrec.evaluation.compare(models, rows.test, seen=seen, items=rows.items)
    print(kerasrec.evaluation.format_table(table), end="\n\n")

    path = kerasrec.serving.export(models[best], directory, vocabularies=ready.vocabularies)
    print(f"{best} is the best on the validation rows, and exported:")
    print(kerasrec.serving.verify(path), end="\n\n")

    served = kerasrec.serving.load(path)
    mine = dataset.interactions.column("user_id") == USER
    rated = dataset.interactions.column("item_id")[mine]
    items = dataset.items.to_pylist()
    titles = {item["item_id"]: item["title"] for item in items}
    print(f"User {USER} has rated {len(rated)} films. Ten others, from the exported model:")
    query: dict[str, Any] = {"user_id": [USER]}
    for history in models[best].schema.item_histories:  # newest last
        newest = dataset.interactions.column("timestamp")[mine].argsort(kind="stable")
        query[history.name] = [rated[newest][-history.max_length :]]
    (answer,) = served.recommend(query, exclude=[rated]).rows()
    for item, score in answer:
        print(f"{score:>8.3f}  {titles[item]}")
    print(f"\nServe it with Docker:\n{kerasrec.serving.serve_command(directory)}")
    print(f"\nAsk it:\n{kerasrec.serving.curl_command(directory)}")
    print(f"\nServe it on this machine:\nkerasrec serve {shlex.quote(directory)}")

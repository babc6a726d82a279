"""Complete example in one function, from ratings to a served model."""

import kerasrec
from kerasrec.cli.terminal import import_tensorflow

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
    ready = kerasrec.data.prepare(split)

    models = {
        "Popularity": kerasrec.models.Popularity(ready.schema),
        "MatrixFactorization": kerasrec.models.MatrixFactorization(
            ready.schema, embedding_dim=32, l2=1e-3
        ),
        "EmbeddingMLP": kerasrec.models.EmbeddingMLP(
            ready.schema, embedding_dim=32, hidden_units=(64, 32), l2=1e-3
        ),
    }
    models["Popularity"].adapt(ready.train)
    kerasrec.training.keep_freed_memory()
    # Cross-entropy with four unseen films for each seen one, and 99 in validation.
    shared = kerasrec.runs.Training(
        decay_rate=1.0, clipnorm=1.0, unknown_share=0.0, valid_negatives=99
    )
    for name, learning_rate in {"MatrixFactorization": 0.005, "EmbeddingMLP": 0.002}.items():
        print(f"\n{name}: {models[name].count_params():,} parameters", flush=True)
        kerasrec.runs.train(models[name], ready, shared, learning_rate=learning_rate)

    seen = [ready.train, ready.valid]
    chosen = kerasrec.evaluation.compare(models, ready.valid, seen=ready.train)
    best = str(max(chosen, key=lambda row: row["ndcg@10"])["model"])
    rows = kerasrec.evaluation.compare(models, ready.test, seen=seen)
    print(kerasrec.evaluation.format_table(rows), end="\n\n")

    path = kerasrec.serving.export(models[best], directory, vocabularies=ready.vocabularies)
    print(f"{best} is the best on the validation rows, and exported:")
    print(kerasrec.serving.verify(path), end="\n\n")

    served = kerasrec.serving.load(path)
    mine = dataset.interactions.column("user_id") == USER
    rated = dataset.interactions.column("item_id")[mine]
    items = dataset.items.to_pylist()
    titles = {item["item_id"]: item["title"] for item in items}
    print(f"User {USER} has rated {len(rated)} films. Ten others, from the exported model:")
    (answer,) = served.recommend({"user_id": [USER]}, exclude=[rated]).rows()
    for item, score in answer:
        print(f"{score:>8.3f}  {titles[item]}")
    print(f"\nServe it:\n{kerasrec.serving.serve_command(directory)}")
    print(f"\nAsk it:\n{kerasrec.serving.curl_command(directory)}")

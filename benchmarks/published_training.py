"""Training and measurement of the models of `published_tables.py` by stock compile and fit."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from kerasrec import callbacks, data, datasets, evaluation, models, optimizers
from kerasrec.schema import Schema
from kerasrec.training import AlternatingLeastSquares, SampledSoftmaxTrainer, keep_freed_memory
from kerasrec.types import Columns

HELD_OUT = 0.1
WEIGHT = "weight"
FOLDS = 5
RATINGS = (1.0, 5.0)


@dataclasses.dataclass(frozen=True)
class RankingSettings:
    """Settings of a top-N table."""

    kind: str = "MatrixFactorization"
    embedding_dim: int = 64
    stddev: float = 0.1
    l2: float = 0.0
    temperature: float | None = None
    use_bias: bool = True
    negatives: int = 256
    sampling_correction: bool = False
    half_life: float | None = None
    floor: float | None = None
    learning_rate: float = 0.004
    batch_size: int = 2048
    epochs: int = 20
    every: int = 2
    # With patience the learning rate stays constant, so that no epoch is the last by plan.
    patience: int | None = None
    k: int = 10
    # Arguments of a model that is computed from the rows, without epochs, and of its solver.
    options: Mapping[str, Any] | None = None
    solver: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class RatingSettings:
    """Settings of a rating table, the same for all folds and seeds."""

    embedding_dim: int = 64
    stddev: float = 0.1
    l2: float = 0.12
    bias_l2: float = 0.005
    learning_rate: float = 0.015
    decay_rate: float = 9.0
    clipnorm: float | None = 0.03
    batch_size: int = 1000
    epochs: int = 20


def clock() -> Callable[[], dict[str, float]]:
    """Start a clock; the returned function gives elapsed wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    return lambda: {
        "training_seconds": time.perf_counter() - wall,
        "training_cpu_seconds": time.process_time() - cpu,
    }


def trains(settings: Any) -> bool:
    """Return whether there are weights to train."""
    return bool(settings.epochs)


@functools.cache
def load(name: str) -> datasets.Dataset:
    """Return a data set, read once."""
    return datasets.load(name)


def random_ranker(schema: Schema) -> Any:
    """Return a ranker with constant scores: the exact mean over all orders."""

    class Constant:
        def __init__(self) -> None:
            self.schema = schema

        def __call__(self, inputs: Columns, training: bool = False) -> np.ndarray:
            return np.zeros(np.shape(inputs[schema.item_id.name]), np.float32)

    return Constant()


def encoded(name: str, *parts: data.Interactions) -> tuple[Schema, list[dict[str, np.ndarray]]]:
    """Return the columns of the parts, with ids of the whole published set."""
    rows = load(name).interactions
    vocabularies = data.fit_vocabularies(rows)
    return data.make_schema(rows, vocabularies), [data.encode(p, vocabularies) for p in parts]


def train_ranking(
    settings: RankingSettings,
    schema: Schema,
    train: Columns,
    seed: int,
    epochs: int,
    *,
    time: str | None,
    **options: Any,
) -> tuple[Any, dict[str, list[float]], dict[str, float]]:
    """Return a model after the first `epochs` planned epochs, its history and the times.

    `time` names the column that orders the rows. Only weights by recency use it.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    passed = clock()
    if settings.kind == "random":
        return random_ranker(schema), {}, passed()
    if settings.kind == "Popularity":
        model = models.Popularity(schema)
        model.adapt(train)
        return model, {}, passed()
    if settings.options is not None:
        model = getattr(models, settings.kind)(schema, **settings.options)
        if settings.solver is None:
            model.adapt(train)
        else:
            epochs = settings.solver["epochs"]
            numbers = {n: v for n, v in settings.solver.items() if n != "epochs"}
            AlternatingLeastSquares(model, **numbers).fit(train, epochs=epochs)
        return model, {}, passed()
    shared = {"embedding_dim": settings.embedding_dim, "stddev": settings.stddev, "l2": settings.l2}
    batching: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "seed": seed,
        "drop_remainder": True,
    }
    if settings.kind == "MatrixFactorization":
        cosine = {"temperature": settings.temperature, "use_bias": settings.use_bias}
        model = models.MatrixFactorization(schema, **shared, **cosine)
        fitted = SampledSoftmaxTrainer(
            model,
            negatives=settings.negatives,
            sampling_correction=settings.sampling_correction,
            seed=seed,
        )
        if settings.half_life is not None:
            weights = data.recency_weights(
                train, schema, time=time, half_life=settings.half_life, floor=settings.floor
            )
            train, batching["weight"] = {**train, WEIGHT: weights}, WEIGHT
        batches = data.without_labels(data.pointwise(train, schema, **batching))
    else:
        fitted = model = models.EmbeddingMLP(schema, hidden_units=(64, 32), **shared)
        batches = data.with_negatives(train, schema, negatives=settings.negatives, **batching)
    steps = settings.epochs * int(batches.cardinality())
    rate: Any = settings.learning_rate
    if settings.patience is None:
        rate = keras.optimizers.schedules.PolynomialDecay(rate, steps, 0.0)
    fitted.compile(
        optimizers.Adam(rate),
        keras.losses.BinaryCrossentropy(from_logits=True) if fitted is model else None,
        jit_compile=True,
        steps_per_execution=16,
    )
    watch: list[keras.callbacks.Callback] = []
    if options:
        watch = [callbacks.RankingValidation(ranker=model, every=settings.every, **options)]
        if settings.patience is not None:
            measure = f"val_ndcg@{settings.k}"
            watch.append(
                keras.callbacks.EarlyStopping(measure, mode="max", patience=settings.patience)
            )
    keep_freed_memory()
    history = fitted.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=watch).history
    return model, history, passed()


def choose_ranking(name: str, part: str, settings: RankingSettings) -> dict[str, Any]:
    """Return the epoch with the best NDCG on held-out training rows."""
    rows = load(name).split.train
    if rows.time is not None:
        split = data.leave_last_out(rows, valid=0, test=1)
    else:
        split = data.random_split(rows, valid=0.0, test=HELD_OUT)
    schema, (train, valid) = encoded(name, split.train, split.test)
    options: dict[str, Any] = {"valid": valid, "seen": train, "k": settings.k}
    if load(name).negatives is not None:
        users, items = schema.user_id.name, schema.item_id.name
        both = {n: np.concatenate([train[n], valid[n]]) for n in (users, items)}
        sampler = data.NegativeSampler(schema, seen=both)
        options["candidates"] = sampler.sample(valid[users], 99, np.random.default_rng(0))
    options["time"] = load(name).interactions.time
    _, history, _ = train_ranking(settings, schema, train, 0, settings.epochs, **options)
    curve = history[f"val_ndcg@{settings.k}"]
    hits = "hr" if "candidates" in options else "recall"
    return {
        "epoch": int(np.argmax(curve)) + 1,
        "ndcg": [round(value, 4) for value in curve],
        hits: [round(value, 4) for value in history[f"val_{hits}@{settings.k}"]],
        "loss": [round(value, 4) for value in history["loss"]],
    }


def test_ranking(
    name: str, part: str, settings: RankingSettings, seed: int, epoch: int | None
) -> dict[str, Any]:
    """Return the test figures of a model trained on the whole training part."""
    dataset = load(name)
    schema, (train, test) = encoded(name, dataset.split.train, dataset.split.test)
    candidates = None
    if dataset.negatives is not None:
        shape = dataset.negatives.shape
        vocabulary = data.fit_vocabularies(dataset.interactions)[schema.item_id.name]
        candidates = vocabulary.encode(dataset.negatives.ravel()).reshape(shape)
    time = dataset.interactions.time
    model, _, times = train_ranking(settings, schema, train, seed, epoch or 0, time=time)
    found = evaluation.rank(model, test, seen=train, k=settings.k, candidates=candidates).summary()
    figures = {n: v for n, v in found.items() if isinstance(v, float)}
    return {**figures, "protocol": found["protocol"], **times}


def train_rating(
    rows: data.Interactions,
    settings: RatingSettings,
    seed: int,
    epochs: int,
    valid: data.Interactions | None = None,
) -> tuple[Any, dict[str, data.Vocabulary], dict[str, list[float]], dict[str, float]]:
    """Train with stock compile and fit for the first `epochs` planned epochs."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    passed = clock()
    vocabularies = data.fit_vocabularies(rows)
    schema = data.make_schema(rows, vocabularies)
    columns = data.encode(rows, vocabularies)
    model = models.MatrixFactorization(
        schema,
        embedding_dim=settings.embedding_dim,
        initial_bias=float(columns[schema.label].mean()),
        stddev=settings.stddev,
        l2=settings.l2,
        bias_l2=settings.bias_l2,
    )
    rate = optimizers.inverse_time_decay(
        settings.learning_rate,
        examples=len(rows),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        decay_rate=settings.decay_rate,
        verbose=0,
    )
    model.compile(
        optimizers.Adam(rate, clipnorm=settings.clipnorm),
        "mse",
        metrics=[keras.metrics.RootMeanSquaredError(name="rmse")],
        jit_compile=True,
        steps_per_execution=8,
    )
    batches = data.pointwise(columns, schema, batch_size=settings.batch_size, seed=seed)
    held_out = None
    if valid is not None:
        held_out = data.pointwise(
            data.encode(valid, vocabularies), schema, batch_size=len(valid), shuffle=False
        )
    keep_freed_memory()
    history = model.fit(
        batches, validation_data=held_out, epochs=epochs, shuffle=False, verbose=0
    ).history
    return model, vocabularies, history, passed()


def _fold(name: str, part: str, valid: float) -> data.Split:
    number = int(part.removeprefix("fold"))
    splits = data.k_fold(load(name).interactions, folds=FOLDS, valid=valid)
    return next(split for at, split in enumerate(splits, 1) if at == number)


def choose_rating(name: str, part: str, settings: RatingSettings) -> dict[str, Any]:
    """Return the epoch with the lowest RMSE on held-out training rows."""
    split = _fold(name, part, HELD_OUT)
    *_, history, _ = train_rating(split.train, settings, 0, settings.epochs, split.valid)
    curve = history["val_rmse"]
    return {"epoch": int(np.argmin(curve)) + 1, "rmse": [round(value, 4) for value in curve]}


def test_rating(
    name: str, part: str, settings: RatingSettings, seed: int, epoch: int | None
) -> dict[str, Any]:
    """Return the errors on the test rows of the fold."""
    split = _fold(name, part, 0.0)
    model, vocabularies, _, times = train_rating(split.train, settings, seed, epoch or 0)
    errors = evaluation.rating_errors(model, data.encode(split.test, vocabularies), clip=RATINGS)
    return {"rmse": errors["rmse"], "mae": errors["mae"], **times}

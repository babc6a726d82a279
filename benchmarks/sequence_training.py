"""Resumable training and measurement of the models of `sequence_tables.py`."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from describing import write
from published_training import clock, encoded, load

from kerasrec import data, evaluation, models, optimizers
from kerasrec.retrieval import NextItemTrainer
from kerasrec.schema import IdSequence as History
from kerasrec.schema import Schema
from kerasrec.training import keep_freed_memory
from kerasrec.types import Columns

HISTORY = "history"


@dataclasses.dataclass(frozen=True)
class SequenceSettings:
    """Settings of a next-item table."""

    kind: str = "SASRec"
    embedding_dim: int = 64
    num_layers: int = 2
    num_heads: int = 1
    hidden_units: Sequence[int] = ()
    cell: str = "-"
    dropout: float = 0.2
    max_length: int = 200
    windows: str = "newest"
    learning_rate: float = 3e-3
    last_rate: float = 3e-5
    warmup_steps: int = 100
    clipnorm: float | None = None
    paper: bool | None = None
    batch_size: int = 32
    epochs: int = 32
    every: int = 4
    patience: int = 12
    k: int = 10


def next_item_schema(name: str, max_length: int, *parts: data.Interactions) -> tuple[Schema, Any]:
    """Return the schema with a history, and the encoded parts with rows sorted by time."""
    plain, columns = encoded(name, *parts)
    history = History(HISTORY, of=plain.item_id.name, max_length=max_length)
    return Schema(user=(*plain.user, history), item=plain.item), columns


def make_model(settings: SequenceSettings, schema: Schema) -> Any:
    """Return a model with fresh weights."""
    shared = {"embedding_dim": settings.embedding_dim, "dropout": settings.dropout}
    if settings.kind == "SASRec":
        return models.SASRec(
            schema,
            **shared,
            num_layers=settings.num_layers,
            num_heads=settings.num_heads,
            hidden_units=settings.hidden_units[0] if settings.hidden_units else None,
            paper=bool(settings.paper),
        )
    return models.GRU4Rec(schema, **shared, hidden_units=settings.hidden_units, cell=settings.cell)


def make_trainer(settings: SequenceSettings, model: Any, steps: int) -> NextItemTrainer:
    """Return a compiled trainer: softmax over the catalogue, warm-up, then decay."""
    falling = keras.optimizers.schedules.PolynomialDecay(
        settings.learning_rate, max(1, steps - settings.warmup_steps), settings.last_rate
    )
    rate = optimizers.WarmUp(falling, settings.warmup_steps)
    trainer = NextItemTrainer(model)
    trainer.compile(optimizers.Adam(rate, clipnorm=settings.clipnorm), jit_compile=True)
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


class Checkpoint:
    """Weights and optimizer state after some epochs, with the figures so far.

    The file of the figures is written last and names the weights, so that an interrupted training
    always resumes from a complete checkpoint. It counts only if it was made with `key`.
    """

    def __init__(self, folder: pathlib.Path, key: dict[str, Any]) -> None:
        self.folder, self.key = folder, json.loads(json.dumps(key))
        self.state: dict[str, Any] = {"epoch": 0, "best": 0, "figures": []}
        if self._file.is_file():
            held = json.loads(self._file.read_text(encoding="utf-8"))
            if held["key"] == self.key:
                self.state = held["state"]

    @property
    def _file(self) -> pathlib.Path:
        return self.folder / "state.json"

    def weights(self, epoch: int) -> pathlib.Path:
        """Return the file of the weights after an epoch."""
        return self.folder / f"epoch{epoch}.weights.h5"

    def save(self, trainer: Any) -> None:
        """Save the current weights, the weights of the best epoch, and the state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        trainer.save_weights(self.weights(self.state["epoch"]))
        self.state["random"] = [state.numpy().tolist() for state in random_states(trainer)]
        write(self._file, json.dumps({"key": self.key, "state": self.state}) + "\n")
        kept = {self.weights(self.state[name]) for name in ("epoch", "best")}
        for path in set(self.folder.glob("*.weights.h5")) - kept:
            path.unlink()


def random_states(trainer: Any) -> list[Any]:
    """Return the random states of dropout, which weight files leave out."""
    return [v for v in trainer.variables if v.name == "seed_generator_state"]


def fit_with_early_stopping(
    trainer: Any,
    epochs_of: Callable[[int], Any],
    validate: Callable[[], dict[str, float]],
    settings: Any,
    checkpoint: Checkpoint,
    measure: str,
) -> dict[str, Any]:
    """Fit up to `epochs`, validate every `every` of them, and restore the best weights.

    Args:
        trainer: a compiled model.
        epochs_of: function from the number of an epoch to its batches.
        validate: function that returns the figures of the current weights.
        settings: `epochs`, `every` and `patience`.
        checkpoint: checkpoint of the training, read and updated.
        measure: the deciding figure, higher is better.

    Returns:
        The state of the checkpoint: epochs trained, the best one, figures by epoch, seconds.
    """
    state = checkpoint.state
    if state["epoch"]:
        trainer.load_weights(checkpoint.weights(state["epoch"]))
        for variable, value in zip(random_states(trainer), state["random"], strict=True):
            variable.assign(value)
    while state["epoch"] < settings.epochs:
        if state["epoch"] - state["best"] > settings.patience:
            break
        passed = clock()
        last = min(state["epoch"] + settings.every, settings.epochs)
        for epoch in range(state["epoch"], last):
            keep_freed_memory()
            history = trainer.fit(
                epochs_of(epoch), initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0
            ).history
        figures = {"epoch": last, "loss": round(float(history["loss"][-1]), 4), **validate()}
        best = max((f[measure] for f in state["figures"]), default=-np.inf)
        state["epoch"] = last
        if figures[measure] > best:
            state["best"] = last
        state["figures"].append(figures)
        for name, seconds in passed().items():
            state[name] = state.get(name, 0.0) + seconds
        checkpoint.save(trainer)
        print(json.dumps(figures), f"best {state['best']}", flush=True)
    trainer.load_weights(checkpoint.weights(state["best"]))
    return state


def fit_next_items(
    name: str, part: str, settings: SequenceSettings, seed: int, folder: pathlib.Path
) -> dict[str, Any]:
    """Train until the validation items stop it; then evaluate on the test items."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    split = load(name).split
    schema, (train, valid, test) = next_item_schema(
        name, settings.max_length, split.train, split.valid, split.test
    )
    batches = functools.partial(
        data.next_items,
        train,
        schema,
        batch_size=settings.batch_size,
        time=None,
        windows=settings.windows,
    )
    steps = settings.epochs * int(batches().cardinality())
    model = make_model(settings, schema)
    trainer = make_trainer(settings, model, steps)
    later = data.add_history(valid, schema, time=None, past=train)

    def validate() -> dict[str, float]:
        found = evaluation.ranking(model, later, seen=train, k=settings.k)
        names = (f"hr@{settings.k}", f"ndcg@{settings.k}")
        return {name: round(found[name], 5) for name in names}

    checkpoint = Checkpoint(folder, {"settings": dataclasses.asdict(settings), "seed": seed})
    # Every epoch has its own seed, so that a resumed epoch is the same.
    state = fit_with_early_stopping(
        trainer,
        lambda epoch: batches(seed=1000 * seed + epoch),
        validate,
        settings,
        checkpoint,
        f"ndcg@{settings.k}",
    )
    return {**figures_of_test(model, schema, train, valid, test, settings.k), **times_of(state)}


def figures_of_test(
    model: Any, schema: Schema, train: Columns, valid: Columns, test: Columns, k: int
) -> dict[str, Any]:
    """Rank each user's test item after the whole history, including the validation item."""
    past = {name: np.concatenate([train[name], valid[name]]) for name in train}
    found = evaluation.ranking(
        model, data.add_history(test, schema, time=None, past=past), seen=[train, valid], k=k
    )
    figures = {n: v for n, v in found.items() if isinstance(v, float)}
    return {**figures, "protocol": found["protocol"]}


def times_of(state: dict[str, Any]) -> dict[str, Any]:
    """Describe a training: the chosen epoch, the number of epochs and their seconds."""
    return {
        "epoch": state["best"],
        "epochs_trained": state["epoch"],
        "training_seconds": state["training_seconds"],
        "training_cpu_seconds": state["training_cpu_seconds"],
        "validation": state["figures"],
    }

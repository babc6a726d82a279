"""Training throughput of matrix factorisation on NCF MovieLens 1M, against Keras and PyTorch.

    python benchmarks/training_throughput.py                                    # writes its page
    python benchmarks/training_throughput.py --torch-python ~/torch/bin/python  # PyTorch elsewhere
    python benchmarks/training_throughput.py --rounds 1 --libraries kerasrec    # a part, no page
    python benchmarks/training_throughput.py --page                             # stored results

994,169 positives with 4 negatives each are 4.97 million rows per epoch; dimension 64, batches of
8,192 rows, binary cross-entropy, Adam with clipnorm 1. Every library trains on every layout. Every
side is a separate process, and a round runs all of them in turn. The first epoch compiles and warms
up; the median of the others counts.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time
from typing import Any

import pages
import processes
import turns

DIM, BATCH, NEGATIVES, EPOCHS = 64, 8192, 4, 3
LIBRARIES = {
    "kerasrec": "kerasrec, defaults",
    "keras": "Keras, fit(numpy), defaults",
    "keras_tuned": "Keras, tf.data, XLA, 16 steps at once",
    "torch": "PyTorch loop, fused Adam",
}
LAYOUTS = {
    "grouped": "the user once, then the film and its 4 negatives",
    "rows": "a row for each pair, those of a positive together",
    "shuffled": "a row for each pair, in random order",
}
ABOUT = """# Rows a second that train

One epoch of matrix factorisation on NCF MovieLens 1M (994,169 positives with 4 negatives each: \
4.97 million rows), dimension 64, no biases, batches of 8,192 rows, cross-entropy, Adam with \
`clipnorm=1`. All libraries train the same weights in three layouts:

- grouped: the user once, then the film and its 4 negatives (8,190 pairs a batch). This is what \
`kerasrec.data.with_negatives` gives.
- rows: a row for each pair, those of a positive together.
- shuffled: a row for each pair, in random order.

kerasrec draws its negatives (grouped) and shuffles (grouped and shuffled) while it trains; the \
other libraries get theirs drawn and shuffled before the clock starts. kerasrec updates lazily, \
the others densely. PyTorch clips with `clip_grad_norm_` for each table. Every side runs in \
a process of its own, all sides in turn in each of {rounds} rounds; the first epoch of a process \
compiles and does not count, the median of the others does. Rates are geometric means over the \
rounds; "kerasrec is" has the mean ratio within the rounds and its 95 % interval. This page is \
written by `benchmarks/training_throughput.py`.

```text
{text}
```
"""


def main() -> None:
    """Run all sides in turn and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=LIBRARIES)
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), choices=LAYOUTS)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    pages.add_options(parser, torch=True)
    arguments = parser.parse_args()
    if arguments.cell:
        side, folder = arguments.cell
        library, layout = side.split("-")
        print(json.dumps(MEASURE[library](pathlib.Path(folder), layout)))
        return
    page = pages.Page(
        "training_throughput",
        __file__,
        {name: getattr(arguments, name) for name in ("rounds", "libraries", "layouts")},
        torch_python=arguments.torch_python,
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    settings = page.settings
    sides = [
        f"{library}-{layout}"
        for layout in settings["layouts"]
        for library in settings["libraries"]
        # The beginner's version is far behind, so one layout is enough.
        if library != "keras" or layout == "rows"
    ]
    with tempfile.TemporaryDirectory() as folder:
        rows = page.result("rows", lambda: prepare(pathlib.Path(folder)))
        if not page.remake and not any(pathlib.Path(folder).iterdir()):
            prepare(pathlib.Path(folder))  # a run that goes on has the number, not the files

        def measure(side: str, number: int) -> list[float]:
            return processes.measure(__file__, side, folder, arguments.torch_python)

        seconds = page.rounds(sides, settings["rounds"], measure)
    rates = {
        side: [rows / statistics.median(one) / 1e6 for one in some]
        for side, some in seconds.items()
    }
    page.write(ABOUT.format(rounds=settings["rounds"], text=report(page, rates)))


def prepare(folder: pathlib.Path) -> int:
    """Write the positives, and one epoch of groups with negatives; return its rows."""
    import numpy as np

    from kerasrec import data, datasets

    published = datasets.load("ncf-ml-1m")
    vocabularies = data.fit_vocabularies(published.interactions)
    columns = data.encode(published.split.train, vocabularies)
    schema = data.make_schema(published.interactions, vocabularies)
    (folder / "schema.json").write_text(json.dumps(schema.to_dict()))
    users, items = columns["user_id"], columns["item_id"]
    np.savez(folder / "positives.npz", user_id=users, item_id=items)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(users))
    drawn = rng.integers(2, schema.item_id.num_ids, (len(users), 1 + NEGATIVES), "int32")
    drawn[:, 0] = items[order]
    labels = np.zeros(drawn.shape, "float32")
    labels[:, 0] = 1
    np.savez(folder / "epoch.npz", user_id=users[order], item_id=drawn, label=labels)
    np.save(folder / "sizes.npy", [schema.user_id.num_ids, schema.item_id.num_ids])
    return drawn.size


def report(page: pages.Page, rates: dict[str, list[float]]) -> str:
    """Return a table for each layout, and the conclusion."""
    settings = page.settings
    lines = page.head(
        f"settings  {settings['rounds']} rounds, epochs 2 to {EPOCHS} of each process, seed 0"
    )
    verdicts = []
    for layout in settings["layouts"]:
        lines.append(
            f"{f'million rows/s, {layout}':<42}{'mean':>8}{'range':>16}{'kerasrec is':>26}"
        )
        ours = rates.get(f"kerasrec-{layout}")
        for library in settings["libraries"]:
            found = rates.get(f"{library}-{layout}")
            if found is None:
                continue
            ratio = ""
            if ours and library != "kerasrec":
                times = turns.ratio(ours, found)
                ratio = f"x {times.show()}"
                verdicts.append(f"target    {layout}, at least {library}: {word(times)} ({ratio})")
            spread = f"{min(found):.2f} to {max(found):.2f}"
            mean = statistics.geometric_mean(found)
            lines.append(f"{LIBRARIES[library]:<42}{mean:>8.2f}{spread:>16}{ratio:>26}")
        lines.append("")
    return "\n".join([*lines, *verdicts])


def word(times: turns.Interval) -> str:
    """Return the comparison that the interval supports."""
    if times.low >= 1:
        return "reached"
    return "missed" if times.high < 1 else "level, the interval holds 1"


def layout_of(folder: pathlib.Path, layout: str) -> tuple[dict[str, Any], int]:
    """Load the columns of an epoch in a layout, and the batch size."""
    import numpy as np

    epoch = dict(np.load(folder / "epoch.npz"))
    if layout == "grouped":
        return epoch, BATCH // (1 + NEGATIVES)
    epoch["user_id"] = np.repeat(epoch["user_id"], 1 + NEGATIVES)
    epoch = {name: column.ravel() for name, column in epoch.items()}
    if layout == "shuffled":
        order = np.random.default_rng(1).permutation(len(epoch["label"]))
        epoch = {name: column[order] for name, column in epoch.items()}
    return epoch, BATCH


def fit(model: Any, data: Any, options: dict[str, Any]) -> list[float]:
    """Return the seconds of the epochs of `model.fit` after the first."""
    import keras

    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.began)

    model.fit(*data, epochs=EPOCHS, verbose=0, callbacks=[Clock()], **options)
    return seconds[1:]


def kerasrec_epochs(folder: pathlib.Path, layout: str) -> list[float]:
    """Train as in the README: batches of the library, the model, kerasrec's Adam."""
    import keras
    import numpy as np

    from kerasrec import data, models, optimizers
    from kerasrec.schema import Schema
    from kerasrec.training import keep_freed_memory

    keras.utils.set_random_seed(0)
    schema = Schema.from_dict(json.loads((folder / "schema.json").read_text()))
    model = models.MatrixFactorization(schema, embedding_dim=DIM, use_bias=False)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizers.Adam(clipnorm=1.0), loss)
    if layout == "grouped":
        columns = dict(np.load(folder / "positives.npz"))
        batches = data.with_negatives(columns, schema, batch_size=BATCH, negatives=NEGATIVES)
    else:
        columns, _ = layout_of(folder, layout)
        columns[schema.label] = columns.pop("label")
        shuffle = layout == "shuffled"
        batches = data.pointwise(columns, schema, batch_size=BATCH, shuffle=shuffle)
    keep_freed_memory()
    return fit(model, [batches], {"shuffle": False})


def keras_model(folder: pathlib.Path, layout: str, **options: Any) -> Any:
    """Return two embeddings and their product, in stock Keras."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    users, items = np.load(folder / "sizes.npy").tolist()
    shape = (1 + NEGATIVES,) if layout == "grouped" else ()
    user = keras.Input((), dtype="int32", name="user_id")
    item = keras.Input(shape, dtype="int32", name="item_id")
    vectors = keras.layers.Embedding(users, DIM)(user), keras.layers.Embedding(items, DIM)(item)
    product = keras.layers.Dot((1, 2) if shape else 1)(vectors)
    model = keras.Model({"user_id": user, "item_id": item}, product)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(clipnorm=1.0), loss, **options)
    return model


def keras_epochs(folder: pathlib.Path, layout: str) -> list[float]:
    """Train on arrays in memory, passed to `fit` unchanged."""
    epoch, size = layout_of(folder, layout)
    label = epoch.pop("label")
    return fit(keras_model(folder, layout), [epoch, label], {"batch_size": size})


def keras_tuned(folder: pathlib.Path, layout: str) -> list[float]:
    """Train with the fastest known settings of stock Keras on a CPU."""
    import tensorflow as tf

    epoch, size = layout_of(folder, layout)
    rows = len(epoch["label"]) // size * size
    cut = {
        name: column[:rows].reshape(-1, size, *column.shape[1:]) for name, column in epoch.items()
    }
    label = cut.pop("label")
    switches = tf.data.Options()
    switches.autotune.enabled = False
    if layout != "grouped":
        label = label[..., None]
    batches = tf.data.Dataset.from_tensor_slices((cut, label)).with_options(switches)
    model = keras_model(folder, layout, jit_compile=True, steps_per_execution=16)
    return fit(model, [batches], {"shuffle": False})


def torch_epochs(folder: pathlib.Path, layout: str) -> list[float]:
    """Train with a plain PyTorch loop."""
    import numpy as np
    import torch

    torch.manual_seed(0)
    epoch, size = layout_of(folder, layout)
    users, items, labels = (torch.from_numpy(epoch[n]) for n in ("user_id", "item_id", "label"))
    users, items = users.long(), items.long()
    sizes = np.load(folder / "sizes.npy").tolist()
    user, item = (torch.nn.Embedding(size, DIM) for size in sizes)
    optimizer = torch.optim.Adam([user.weight, item.weight], fused=True)
    lossfunction = torch.nn.functional.binary_cross_entropy_with_logits
    seconds = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        for row in range(0, len(labels), size):
            part = slice(row, row + size)
            optimizer.zero_grad()
            vectors = user(users[part])
            if layout == "grouped":
                vectors = vectors.unsqueeze(1)
            logits = (vectors * item(items[part])).sum(-1)
            loss = lossfunction(logits, labels[part])
            loss.backward()
            for table in (user, item):
                torch.nn.utils.clip_grad_norm_([table.weight], 1.0)
            optimizer.step()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


MEASURE = {
    "kerasrec": kerasrec_epochs,
    "keras": keras_epochs,
    "keras_tuned": keras_tuned,
    "torch": torch_epochs,
}


if __name__ == "__main__":
    main()

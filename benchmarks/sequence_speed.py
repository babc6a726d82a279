"""An epoch of SASRec with a softmax over the catalogue, beside a plain PyTorch loop.

    python benchmarks/sequence_speed.py                            # writes its page
    python benchmarks/sequence_speed.py --torch-python ~/bin/python  # PyTorch elsewhere
    python benchmarks/sequence_speed.py --rounds 1                 # a look, no page

sasrec-ml-1m, training rows alone: the newest 201 items of each of 6,040 users, length 200,
dimension 64, 2 blocks with 1 head, dropout 0.2, Adam. Every side is a process of its own, and a
round runs both in turn; the first epoch compiles and does not count, the median of the others does.
"""

import argparse
import json
import pathlib
import resource
import statistics
import sys
import tempfile
import time

import describing
import processes

LENGTH, DIM, LAYERS, DROPOUT, RATE = 200, 64, 2, 0.2, 0.001
ROWS, USERS, EPOCHS = 64, 128, 3
SIDES = {
    "kerasrec": f"kerasrec, packed rows, {ROWS} a batch",
    "torch": f"PyTorch, padded rows, {USERS} a batch, scaled_dot_product_attention",
}
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "sequence_speed.md"
ABOUT = """# Time of an epoch of SASRec

sasrec-ml-1m, the training rows: the newest 201 items of each user; length 200, dimension \
64, 2 blocks with 1 head, dropout 0.2, cross-entropy over all items at every position, Adam \
with a rate of 0.001. kerasrec packs users into rows and computes the loss in chunks \
(`NextItem(model)`); the PyTorch loop has one right-padded row per user, \
`scaled_dot_product_attention` and `cross_entropy` of all positions, padding ignored. {} packed \
rows hold about as many users as the batch of PyTorch's. Each side runs in a process of its own, \
both in turn in each round. This page is written by `benchmarks/sequence_speed.py`.

```text
{}```
"""


def main() -> None:
    """Runs both sides in turn, prints the table, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        side, folder = arguments.cell
        print(json.dumps(MEASURE[side](pathlib.Path(folder))))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    load = describing.load()
    with tempfile.TemporaryDirectory() as folder:
        prepare(pathlib.Path(folder))
        for _ in range(arguments.rounds):
            for side in SIDES:
                found[side].append(
                    processes.measure(__file__, side, folder, arguments.torch_python)
                )
                print(side, found[side][-1], file=sys.stderr, flush=True)
    text = report(found, load, arguments.torch_python, arguments.rounds)
    print(text)
    if arguments.rounds >= 3:
        describing.write(PAGE, ABOUT.format(ROWS, text))


def prepare(folder: pathlib.Path) -> None:
    """Writes the training columns, and PyTorch's padded rows."""
    import numpy as np

    from kerasrec import data, datasets
    from kerasrec.schema import Schema, Sequence

    published = datasets.load("sasrec-ml-1m")
    vocabularies = data.fit_vocabularies(published.interactions)
    columns = data.encode(published.split.train, vocabularies)
    plain = data.make_schema(published.interactions, vocabularies)
    history = Sequence("history", of=plain.item_id.name, max_length=LENGTH)
    schema = Schema(user=(*plain.user, history), item=plain.item)
    (folder / "schema.json").write_text(schema.to_json())
    names = schema.user_id.name, schema.item_id.name
    np.savez(folder / "columns.npz", **{name: columns[name] for name in names})
    inputs, targets = [], []
    rows = data.next_items(
        columns, schema, batch_size=ROWS, time=None, pack_rows=False, shuffle=False
    )
    for features, target in rows:
        inputs.append(features["history"].numpy())
        targets.append(target.numpy())
    inputs, targets = np.concatenate(inputs), np.concatenate(targets)
    real = inputs.any(axis=1)
    np.savez(folder / "rows.npz", inputs=inputs[real], targets=targets[real])


def report(
    found: dict[str, list[dict[str, float]]], load: str, torch_python: str, rounds: int
) -> str:
    """Command, hardware, versions, and both sides."""
    lines = [
        f"command   {describing.command()}",
        f"hardware  {describing.machine()}; {load}",
        f"versions  {describing.versions(torch_python=torch_python)}",
        f"settings  {rounds} rounds, epochs 2 to {EPOCHS} of each process, seed 0",
        "",
        f"{'':<68}{'s/epoch':>8}{'range':>15}{'CPU s':>7}{'peak GiB':>10}{'padding':>9}",
    ]
    for side, some in found.items():
        seconds = [one["seconds"] for one in some]
        lines.append(
            f"{SIDES[side]:<68}{statistics.median(seconds):>8.1f}"
            f"{f'{min(seconds):.1f} to {max(seconds):.1f}':>15}"
            f"{statistics.median(one['cpu'] for one in some):>7.1f}"
            f"{max(one['peak'] for one in some) / 2**30:>10.2f}"
            f"{some[0]['padding']:>9.1%}"
        )
    pairs = zip(found["kerasrec"], found["torch"], strict=True)
    share = statistics.median(ours["seconds"] / theirs["seconds"] for ours, theirs in pairs)
    verdict = "reached" if share <= 0.5 else "missed"
    lines += ["", f"target    at most half of PyTorch's time: {verdict} ({share:.2f})"]
    return "\n".join(lines) + "\n"


def measured(seconds: list[float], cpu: list[float], padding: float) -> dict[str, float]:
    """The result of a side; the first epoch is left out."""
    return {
        "seconds": statistics.median(seconds[1:]),
        "cpu": statistics.median(cpu[1:]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "padding": padding,
    }


def kerasrec_epochs(folder: pathlib.Path) -> dict[str, float]:
    """Stock compile and fit."""
    import keras
    import numpy as np

    from kerasrec import data
    from kerasrec.models import SASRec
    from kerasrec.retrieval import NextItem
    from kerasrec.schema import Schema

    keras.utils.set_random_seed(0)
    schema = Schema.from_json((folder / "schema.json").read_text())
    columns = dict(np.load(folder / "columns.npz"))
    rows = data.next_items(columns, schema, batch_size=ROWS, time=None)
    padding = float(np.mean([(target.numpy() == 0).mean() for _, target in rows]))
    model = SASRec(schema, embedding_dim=DIM, num_layers=LAYERS, dropout=DROPOUT)
    trainer = NextItem(model)
    trainer.compile(keras.optimizers.Adam(RATE), jit_compile=True)
    seconds, cpu = [], []
    for _ in range(EPOCHS):
        began, used = time.perf_counter(), time.process_time()
        trainer.fit(rows, shuffle=False, verbose=0)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return measured(seconds, cpu, padding)


def torch_epochs(folder: pathlib.Path) -> dict[str, float]:
    """A plain loop."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    rows = np.load(folder / "rows.npz")
    inputs, targets = (torch.from_numpy(rows[n].astype("int64")) for n in ("inputs", "targets"))
    num_items = int(targets.max()) + 1

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(2))
            self.inward, self.outward = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
            self.inner, self.outer = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
            self.drop = nn.Dropout(DROPOUT)

        def forward(self, x):
            query, key, value = self.inward(self.norms[0](x)).unsqueeze(1).chunk(3, dim=-1)
            found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.drop(self.outward(found.squeeze(1)))
            return x + self.drop(self.outer(self.inner(self.norms[1](x)).relu()))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding(num_items, DIM, padding_idx=0)
            self.places = nn.Embedding(LENGTH, DIM)
            self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.norm, self.drop = nn.LayerNorm(DIM), nn.Dropout(DROPOUT)

        def forward(self, history):
            x = self.items(history) * DIM**0.5 + self.places.weight
            return self.norm(self.blocks(self.drop(x))) @ self.items.weight[2:].T

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    seconds, cpu = [], []
    for _ in range(EPOCHS):
        began, used = time.perf_counter(), time.process_time()
        order = torch.randperm(len(inputs))
        for first in range(0, len(order), USERS):
            batch = order[first : first + USERS]
            target = targets[batch].flatten() - 2
            optimizer.zero_grad()
            logits = model(inputs[batch]).flatten(0, 1)
            functional.cross_entropy(logits, target, ignore_index=-2).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return measured(seconds, cpu, float((targets == 0).float().mean()))


MEASURE = {"kerasrec": kerasrec_epochs, "torch": torch_epochs}


if __name__ == "__main__":
    main()

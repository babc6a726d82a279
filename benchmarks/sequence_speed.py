"""An epoch of SASRec with a softmax over the catalogue, beside a plain PyTorch loop.

    python benchmarks/sequence_speed.py                            # writes its page
    python benchmarks/sequence_speed.py --torch-python ~/bin/python  # PyTorch elsewhere
    python benchmarks/sequence_speed.py --rounds 1                 # a look, no page

sasrec-ml-1m, training rows alone: the newest 201 items of each of 6,040 users, length 200,
dimension 64, 2 blocks with 1 head, Adam. Every side is a process of its own, and a round runs both
in turn; the first epoch compiles and does not count, the median of the others does. What each side
has learned by then is measured on the validation items.
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

LENGTH, DIM, LAYERS, DROPOUT, RATE = 200, 64, 2, 0.1, 0.003
ROWS, USERS, EPOCHS, K = 16, 32, 3, 10
SIDES = {
    "kerasrec": f"kerasrec, packed rows, {ROWS} a batch",
    "torch": f"PyTorch, padded rows, {USERS} a batch, scaled_dot_product_attention",
}
SEED, HELD_OUT = "seed.txt", "held_out.npz"
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "benchmarks" / "sequence_speed.md"
ABOUT = """# Time of an epoch of SASRec

sasrec-ml-1m, the training rows: the newest 201 items of each user; length 200, dimension \
64, 2 blocks with 1 head, dropout {dropout}, cross-entropy over all items at every position, Adam \
with a rate of {rate}. kerasrec packs users into rows and computes the loss in chunks \
(`NextItem(model)`); the PyTorch loop has one right-padded row per user, \
`scaled_dot_product_attention` and `cross_entropy` of all positions, padding ignored. {rows} \
packed rows hold about as many users as the batch of PyTorch's. Each side runs in a process of its \
own, both in turn in each round, with a seed of the round. NDCG@{k} is that of the validation \
items after the last of these {epochs} epochs, ranked among all items that the user has not had; a \
whole training is on [another page](sasrec-ml-1m.md). This page is written by \
`benchmarks/sequence_speed.py`.

```text
{text}```
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
        for seed in range(arguments.rounds):
            (pathlib.Path(folder) / SEED).write_text(str(seed))
            for side in SIDES:
                one = processes.measure(__file__, side, folder, arguments.torch_python)
                found[side].append({**one, "ndcg": ndcg(pathlib.Path(folder), side)})
                print(side, found[side][-1], file=sys.stderr, flush=True)
    text = report(found, load, arguments.torch_python, arguments.rounds)
    print(text)
    if arguments.rounds >= 3:
        describing.write(PAGE, about(text))


def prepare(folder: pathlib.Path) -> None:
    """Writes the training columns, PyTorch's padded rows, and the validation rows."""
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
    np.savez(
        folder / "rows.npz",
        inputs=inputs[real],
        targets=targets[real],
        num_ids=schema.item_id.num_ids,
    )
    valid = data.encode(published.split.valid, vocabularies)
    later = data.add_history(valid, schema, time=None, past=columns)
    user, item = schema.user_id.name, schema.item_id.name
    seen = np.zeros((schema.user_id.num_ids, schema.item_id.num_ids), bool)
    seen[columns[user], columns[item]] = True
    np.savez(
        folder / HELD_OUT,
        history=later["history"][np.arange(len(valid[user]))],
        target=valid[item],
        seen=seen[valid[user]],
    )


def ndcg(folder: pathlib.Path, side: str) -> float:
    """NDCG@K of the validation items, by the vectors that a side has left."""
    import numpy as np

    held_out, vectors = np.load(folder / HELD_OUT), np.load(folder / f"{side}.npz")
    scores = vectors["states"] @ vectors["items"].T
    scores[:, :2] = -np.inf  # padding and unknown
    rows, target = np.arange(len(scores)), held_out["target"]
    own = scores[rows, target]
    if not np.isfinite(own).all():
        raise SystemExit(f"{side}: scores are not finite.")
    scores[held_out["seen"]] = -np.inf
    scores[rows, target] = -np.inf
    above = (scores > own[:, None]).sum(axis=1)
    return float(np.mean(np.where(above < K, 1 / np.log2(above + 2), 0.0)))


def about(text: str) -> str:
    """The page."""
    return ABOUT.format(rows=ROWS, rate=RATE, dropout=DROPOUT, epochs=EPOCHS, k=K, text=text)


def report(
    found: dict[str, list[dict[str, float]]], load: str, torch_python: str, rounds: int
) -> str:
    """Command, hardware, versions, and both sides."""
    lines = [
        f"command   {describing.command()}",
        f"hardware  {describing.machine()}; {load}",
        f"versions  {describing.versions(torch_python=torch_python)}",
        f"settings  {rounds} rounds, epochs 2 to {EPOCHS} of each process, seeds 0 to {rounds - 1}",
        "",
        f"{'':<68}{'s/epoch':>8}{'range':>15}{'CPU s':>7}{'peak GiB':>10}{'padding':>9}"
        f"{f'NDCG@{K}':>9}{'range':>17}",
    ]
    for side, some in found.items():
        seconds = [one["seconds"] for one in some]
        low, high = (choose(one["ndcg"] for one in some) for choose in (min, max))
        lines.append(
            f"{SIDES[side]:<68}{statistics.median(seconds):>8.1f}"
            f"{f'{min(seconds):.1f} to {max(seconds):.1f}':>15}"
            f"{statistics.median(one['cpu'] for one in some):>7.1f}"
            f"{max(one['peak'] for one in some) / 2**30:>10.2f}"
            f"{some[0]['padding']:>9.1%}"
            f"{statistics.mean(one['ndcg'] for one in some):>9.4f}"
            f"{f'{low:.4f} to {high:.4f}':>17}"
        )
    pairs = zip(found["kerasrec"], found["torch"], strict=True)
    share = statistics.median(ours["seconds"] / theirs["seconds"] for ours, theirs in pairs)
    verdict = "reached" if share <= 0.5 else "missed"
    lines += ["", f"target    at most half of PyTorch's time: {verdict} ({share:.2f})"]
    gain = statistics.mean(
        ours["ndcg"] - theirs["ndcg"]
        for ours, theirs in zip(found["kerasrec"], found["torch"], strict=True)
    )
    verdict = "reached" if gain >= 0 else "missed"
    lines.append(f"target    at equal or better NDCG@{K}: {verdict} ({gain:+.4f})")
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

    seed = int((folder / SEED).read_text())
    keras.utils.set_random_seed(seed)
    schema = Schema.from_json((folder / "schema.json").read_text())
    columns = dict(np.load(folder / "columns.npz"))
    rows = data.next_items(columns, schema, batch_size=ROWS, time=None, seed=seed)
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
    result = measured(seconds, cpu, padding)
    history = np.load(folder / HELD_OUT)["history"]
    some = [
        model.query_embedding({"history": part}).numpy()
        for part in np.array_split(history, -(-len(history) // USERS))
    ]
    items = model.item_embedding({"item_id": np.arange(schema.item_id.num_ids)}).numpy()
    np.savez(folder / "kerasrec.npz", states=np.concatenate(some), items=items)
    return result


def torch_epochs(folder: pathlib.Path) -> dict[str, float]:
    """A plain loop."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(int((folder / SEED).read_text()))
    rows = np.load(folder / "rows.npz")
    inputs, targets = (torch.from_numpy(rows[n].astype("int64")) for n in ("inputs", "targets"))
    num_items = int(rows["num_ids"])

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
            for table in (self.items, self.places):
                nn.init.normal_(table.weight, std=0.02)

        def states(self, history):
            x = self.items(history) * DIM**0.5 + self.places.weight
            return self.norm(self.blocks(self.drop(x)))

        def forward(self, history):
            return self.states(history) @ self.items.weight[2:].T

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
    result = measured(seconds, cpu, float((targets == 0).float().mean()))
    history = torch.from_numpy(np.load(folder / HELD_OUT)["history"].astype("int64"))
    model.eval()
    with torch.no_grad():
        some = []
        for part in history.split(USERS):
            last = (part != 0).sum(1) - 1
            some.append(model.states(part)[torch.arange(len(part)), last].numpy())
        items = model.items.weight.numpy()
    np.savez(folder / "torch.npz", states=np.concatenate(some), items=items)
    return result


MEASURE = {"kerasrec": kerasrec_epochs, "torch": torch_epochs}


if __name__ == "__main__":
    main()

"""Time of an epoch of SASRec with a softmax over the catalogue, against a plain PyTorch loop.

    python benchmarks/sequence_speed.py                            # writes its page
    python benchmarks/sequence_speed.py --torch-python ~/bin/python  # PyTorch elsewhere
    python benchmarks/sequence_speed.py --rounds 1 --users 300     # a look, no page
    python benchmarks/sequence_speed.py --page                     # from stored results

sasrec-ml-1m, training rows only: the newest 201 items of each of 6,040 users, length 200, dimension
64, 2 blocks with 1 head, Adam, the paper's attention without a distance bias. Every side is a
separate process, and a round runs both in turn. The first epoch compiles and does not count; the
median of the others does. The result of the training is measured on the validation items.
"""

import argparse
import json
import pathlib
import resource
import statistics
import tempfile
import time

import pages
import processes
import turns

LENGTH, DIM, LAYERS, DROPOUT, RATE = 200, 64, 2, 0.1, 0.003
ROWS, USERS, EPOCHS, K = 16, 32, 3, 10
SIDES = {
    "kerasrec": f"kerasrec, packed rows, {ROWS} a batch",
    "torch": f"PyTorch, padded rows, {USERS} a batch",
}
HELD_OUT = "held_out.npz"
ABOUT = """# Time of an epoch of SASRec

sasrec-ml-1m, the training rows: the newest 201 items of each user; length 200, dimension \
64, 2 blocks with 1 head, dropout {dropout}, cross-entropy over all items at every position, Adam \
with a rate of {rate}. Both sides train the same model: `SASRec(distance_bias=False)` has the \
attention of the paper. kerasrec packs users into rows and computes the loss in chunks \
(`NextItemTrainer(model)`). The PyTorch loop has one right-padded row per user and \
`scaled_dot_product_attention`; it drops padded positions before it multiplies by the items, so \
that neither side computes a loss of padding. {rows} packed rows hold about as many users as the \
batch of PyTorch's. Each side runs in a process of its own, both in turn in each round, a seed \
a round. NDCG@{k} is that of the validation items after the last of these {epochs} epochs, \
ranked among all items that the user has not had; a whole training is on \
[another page](sasrec-ml-1m.md). Intervals are those of 95 % over the rounds. This page is written \
by `benchmarks/sequence_speed.py`.

```text
{text}
```
"""


def main() -> None:
    """Run both sides in turn and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, help="the first users alone; no page")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    pages.add_options(parser, torch=True)
    arguments = parser.parse_args()
    if arguments.cell:
        side, folder, seed = arguments.cell
        print(json.dumps(MEASURE[side](pathlib.Path(folder), int(seed))))
        return
    page = pages.Page(
        "sequence_speed",
        __file__,
        {"rounds": arguments.rounds, "users": arguments.users},
        torch_python=arguments.torch_python,
        remake=arguments.page,
        keep=pages.whole(parser, arguments),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if not page.remake:
            prepare(folder, arguments.users)

        def measure(side: str, seed: int) -> dict[str, float]:
            one = processes.measure(__file__, side, name, arguments.torch_python, str(seed))
            return {**one, "ndcg": ndcg(folder, side)}

        found = page.rounds(list(SIDES), page.settings["rounds"], measure)
    page.write(about(report(page, found)))


def prepare(folder: pathlib.Path, users: int | None) -> None:
    """Write the training columns, PyTorch's padded rows, and the validation rows."""
    import numpy as np

    from kerasrec import data, datasets
    from kerasrec.schema import IdSequence, Schema

    published = datasets.load("sasrec-ml-1m")
    vocabularies = data.fit_vocabularies(published.interactions)
    columns = data.encode(published.split.train, vocabularies)
    valid = data.encode(published.split.valid, vocabularies)
    plain = data.make_schema(published.interactions, vocabularies)
    if users is not None:
        columns, valid = (
            {name: values[part[plain.user_id.name] < users + 2] for name, values in part.items()}
            for part in (columns, valid)
        )
    history = IdSequence("history", of=plain.item_id.name, max_length=LENGTH)
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
    """Return NDCG@K of the validation items, from the vectors that a side has saved."""
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
    """Return the page."""
    return ABOUT.format(rows=ROWS, rate=RATE, dropout=DROPOUT, epochs=EPOCHS, k=K, text=text)


def report(page: pages.Page, found: dict[str, list[dict[str, float]]]) -> str:
    """Return both sides and the ratio of their times."""
    rounds = page.settings["rounds"]
    lines = page.head(
        f"settings  {rounds} rounds, epochs 2 to {EPOCHS} of each process, seeds 0 to {rounds - 1}"
    )
    lines.append(
        f"{'':<40}{'s/epoch':>8}{'range':>15}{'CPU s':>7}{'peak GiB':>10}{'padding':>9}"
        f"{f'NDCG@{K}':>9}{'range':>18}"
    )
    for side, some in found.items():
        seconds = [one["seconds"] for one in some]
        low, high = (choose(one["ndcg"] for one in some) for choose in (min, max))
        lines.append(
            f"{SIDES[side]:<40}{statistics.geometric_mean(seconds):>8.1f}"
            f"{f'{min(seconds):.1f} to {max(seconds):.1f}':>15}"
            f"{statistics.median(one['cpu'] for one in some):>7.1f}"
            f"{max(one['peak'] for one in some) / 2**30:>10.2f}"
            f"{some[0]['padding']:>9.1%}"
            f"{statistics.mean(one['ndcg'] for one in some):>9.4f}"
            f"{f'{low:.4f} to {high:.4f}':>18}"
        )
    ours, theirs = found["kerasrec"], found["torch"]
    share = turns.ratio([one["seconds"] for one in ours], [one["seconds"] for one in theirs])
    gain = turns.mean(
        [one["ndcg"] - other["ndcg"] for one, other in zip(ours, theirs, strict=True)]
    )
    level = "equal, the interval holds 0" if gain.low <= 0 <= gain.high else "not equal"
    verdict = "reached" if share.high <= 0.5 else "missed"
    return "\n".join(
        [
            *lines,
            "",
            f"time, kerasrec / PyTorch:       {share.show()}",
            f"NDCG@{K}, kerasrec - PyTorch:    {gain.show('+.4f')}, {level}",
            "",
            f"target    the upper end at most half of PyTorch's time: {verdict}",
        ]
    )


def measured(seconds: list[float], cpu: list[float], padding: float) -> dict[str, float]:
    """Return the result of a side, without the first epoch."""
    return {
        "seconds": statistics.median(seconds[1:]),
        "cpu": statistics.median(cpu[1:]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "padding": padding,
    }


def kerasrec_epochs(folder: pathlib.Path, seed: int) -> dict[str, float]:
    """Train with stock compile and fit."""
    import keras
    import numpy as np

    from kerasrec import data
    from kerasrec.models import SASRec
    from kerasrec.retrieval import NextItemTrainer
    from kerasrec.schema import Schema

    keras.utils.set_random_seed(seed)
    schema = Schema.from_json((folder / "schema.json").read_text())
    columns = dict(np.load(folder / "columns.npz"))
    rows = data.next_items(columns, schema, batch_size=ROWS, time=None, seed=seed)
    padding = float(np.mean([(target.numpy() == 0).mean() for _, target in rows]))
    model = SASRec(
        schema, embedding_dim=DIM, num_layers=LAYERS, dropout=DROPOUT, distance_bias=False
    )
    trainer = NextItemTrainer(model)
    trainer.compile(keras.optimizers.Adam(RATE), jit_compile=True)
    seconds, cpu = [], []
    for _ in range(EPOCHS):
        began, used = time.perf_counter(), time.process_time()
        from kerasrec.training import keep_freed_memory

        keep_freed_memory()
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


def torch_epochs(folder: pathlib.Path, seed: int) -> dict[str, float]:
    """Train with a plain PyTorch loop."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(seed)
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

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    seconds, cpu = [], []
    for _ in range(EPOCHS):
        began, used = time.perf_counter(), time.process_time()
        order = torch.randperm(len(inputs))
        for first in range(0, len(order), USERS):
            batch = order[first : first + USERS]
            target = targets[batch].flatten()
            real = target.nonzero().flatten()
            optimizer.zero_grad()
            states = model.states(inputs[batch]).flatten(0, 1).index_select(0, real)
            logits = states @ model.items.weight[2:].T
            functional.cross_entropy(logits, target[real] - 2).backward()
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

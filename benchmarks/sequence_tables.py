"""Next-item tables of `published.py`."""

import functools
from collections.abc import Callable, Mapping, Sequence

from published_tables import Published, Table, rows_from
from sequence_training import SequenceSettings, fit_next_items

GRU = {"kind": "GRU4Rec", "cell": "gru", "num_layers": 1, "num_heads": 0}
STACKED = {"kind": "GRU4Rec", "cell": "lstm", "num_layers": 2, "num_heads": 0}
BOTH = ("hr@10", "ndcg@10")
PAPER = "SASRec as published, our loss and training"

PROTOCOL = """
Each user's last item is the test, the one before it the validation, the rest is for training.
**Full ranking**: all items are ranked but those that the user has had before. The model trains on
the training rows alone; every `every` epochs the validation items are ranked after the training
items, and the training stops when NDCG@10 has not risen for more than `patience` epochs. The
weights of the best of these epochs meet the test items once, after the whole history, the
validation item included. Every seed stops by itself. Equal scores count as the mean over their
orders.
"""

TRAINING = """
The rate of StackedLSTM stays the same after the warm-up: the validation ends its training.
`kerasrec.training.NextItemTrainer` on `kerasrec.data.next_items`: cross-entropy over all items at
every step, users packed into rows of `max_length`, of which `batch_size` make a batch; `windows`
says whether the older parts of longer histories are trained on, too.
`kerasrec.optimizers.Adam`; the rate rises linearly over `warmup_steps` and then falls linearly to
`last_rate` at the last planned epoch. The seed sets initial weights, dropout and order.
StackedLSTM is `GRU4Rec` with two LSTM layers, the items being the classes. For it and GRU4Rec
`num_layers` counts the widths in `hidden_units`, for SASRec blocks, whose feed-forward layers are
that wide inside (as wide as the states where none is given). SASRec has a bias by distance and an
output projection in each attention, which the paper's model does not have. "SASRec as published" is
`SASRec(paper=True)`, the model of Kang and McAuley (2018) and of their program, with their number
of heads, width of the feed-forward layers and dropout: in it the loss, the packed rows, the rate
and the stopping are ours. Settings were chosen by hand on the
validation items. Most trainings ran two at a time, with a thread each."""


def _table(
    data: str,
    title: str,
    models: Mapping[str, SequenceSettings],
    goals: Sequence[tuple[str, str, float]],
    published: Sequence[Published],
    note: str,
) -> Table:
    return Table(
        title=title,
        measures={"hr@10": "HR@10", "ndcg@10": "NDCG@10"},
        higher_is_better=True,
        models=models,
        goals=goals,
        published=published,
        protocol=PROTOCOL + note,
        training=TRAINING,
        stops_early=functools.partial(fit_next_items, data),
    )


def sasrec_ml_1m() -> Table:
    """Return the table of SASRec's MovieLens 1M sequences."""
    dross = "Klenitskiy and Vasilev 2023, README of antklen/sasrec-bert4rec-recsys23"
    gsasrec = "README of asash/gSASRec-pytorch, 7e35028"
    replicated = "Petrov and Macdonald 2022, README of asash/bert4rec_repro"
    lru = "Yue et al. 2024 (WSDM)"
    wearec = "logs of the authors of WEARec (AAAI 2026), **picked on the test items**"
    hstu = "README of facebookresearch/generative-recommenders, **all 3,706 items**"
    return _table(
        "sasrec-ml-1m",
        "Next item on MovieLens 1M, sequences of SASRec",
        {
            "SASRec": SequenceSettings(
                num_heads=2,
                hidden_units=(256,),
                dropout=0.1,
                windows="all",
                batch_size=16,
                epochs=24,
            ),
            PAPER: SequenceSettings(
                paper=True, dropout=0.2, windows="all", batch_size=16, epochs=24
            ),
            "GRU4Rec": SequenceSettings(**GRU, hidden_units=(128,), clipnorm=1.0),
            # The rate is constant, so that validation ends the training and not the plan.
            "StackedLSTM": SequenceSettings(
                **STACKED, hidden_units=(128, 64), clipnorm=1.0, last_rate=3e-3, epochs=240,
                patience=8,
            ),
        },
        [
            ("SASRec", "hr@10", 0.3264),
            ("SASRec", "ndcg@10", 0.1930),
            (PAPER, "hr@10", 0.3264),
            (PAPER, "ndcg@10", 0.1930),
            ("GRU4Rec", "hr@10", 0.2962),
            ("GRU4Rec", "ndcg@10", 0.1693),
        ],
        [
            *rows_from(wearec, BOTH, ("WEARec, length 200", "0.3334", "0.1904")),
            *rows_from(
                lru, BOTH,
                ("LRURec", "0.3264", "0.1930"),
                ("SASRec in the same program", "0.3181", "0.1902"),
                ("GRU4Rec in the same program", "0.2962", "0.1693"),
            ),
            *rows_from(
                dross, BOTH,
                ("SASRec+ 3000 (sampled cross-entropy)", "0.3159", "0.1857"),
                ("SASRec+ (cross-entropy over all items)", "0.3152", "0.1821"),
                ("BERT4Rec", "0.2843", "0.1537"),
                ("SASRec, binary cross-entropy, 1 negative", "0.2500", "0.1341"),
            ),
            *rows_from(
                gsasrec, BOTH,
                ("gSASRec (256 negatives, t=0.75)", "0.3003", "0.1726"),
                ("SASRec, binary cross-entropy", "0.2392", "0.1259"),
            ),
            *rows_from(replicated, BOTH, ("BERT4Rec", "0.2821", "0.1516")),
            *rows_from(
                hstu, BOTH,
                ("HSTU-large with a mixture of logits", "0.3412", "0.1979"),
                ("HSTU-large", "0.3294", "0.1893"),
                ("HSTU", "0.3097", "0.1720"),
                ("SASRec, sampled softmax", "0.2853", "0.1603"),
                ("GRU4Rec", "0.2811", "0.1648"),
            ),
        ],
        """
6,040 users, 3,416 items with at least 5 ratings, 999,611 rows. The rows of generative-recommenders
rank 290 items more, so they are near but not the same task. The goals are the strongest rows of
these 3,416 items that were not picked on the test items.""",
    )  # fmt: skip


def amazon_beauty_s3rec() -> Table:
    """Return the table of S3-Rec's Amazon Beauty."""
    s3rec = "README of RUCAIBox/CIKM2020-S3Rec, 2a81540, full ranking"
    board = "RecBoard, mean of 5 seeds, not picked on the test items"
    bsarec = "log of the authors of BSARec (Shin et al. 2024, AAAI)"
    wearec = "logs of the authors of WEARec (AAAI 2026), **picked on the test items**"
    esasrec = "README of transformer_benchmark (eSASRec, RecSys 2025)"
    tiger = "Rajput et al. 2023, arXiv 2305.05065, table 1"
    beauty = {"max_length": 50, "embedding_dim": 128, "dropout": 0.5, "epochs": 12}
    beauty |= {"learning_rate": 2e-3, "last_rate": 2e-5}
    return _table(
        "amazon-beauty-s3rec",
        "Next item on Amazon Beauty, sequences of S3-Rec",
        {
            "SASRec": SequenceSettings(**beauty),
            PAPER: SequenceSettings(**beauty, paper=True),
            "GRU4Rec": SequenceSettings(**beauty, **GRU, hidden_units=(128,)),
        },
        [
            ("SASRec", "hr@10", 0.1008),
            ("SASRec", "ndcg@10", 0.0611),
            (PAPER, "hr@10", 0.1008),
            (PAPER, "ndcg@10", 0.0611),
        ],
        [
            *rows_from(wearec, BOTH, ("WEARec", "0.1041", "0.0614")),
            *rows_from(bsarec, BOTH, ("BSARec", "0.1008", "0.0611")),
            *rows_from(
                board, BOTH,
                ("BSARec, trained again", "0.1004", "0.0609"),
                ("HSTU", "0.0948", "0.0541"),
            ),
            *rows_from(
                esasrec, BOTH,
                ("eSASRec", "0.0928", "0.0523"),
                ("SASRec, sampled softmax", "0.0921", "0.0531"),
            ),
            *rows_from(tiger, BOTH, ("TIGER (reads the items' texts)", "0.0648", "0.0384")),
            *rows_from(
                s3rec, BOTH,
                ("S3-Rec (reads the items' attributes)", "0.0647", "0.0327"),
                ("SASRec, binary cross-entropy", "0.0605", "0.0318"),
                ("HGN", "0.0512", "0.0266"),
                ("Caser", "0.0347", "0.0176"),
                ("BERT4Rec", "0.0347", "0.0170"),
                ("GRU4Rec", "0.0283", "0.0137"),
                ("Popularity (test rows counted too)", "0.0152", "0.0068"),
            ),
        ],
        """
22,363 users, 12,101 items, 198,502 rows, every user and item at least 5 times. Times are whole
days; the order inside a day is that of the file, and figures on other orders do not compare.""",
    )  # fmt: skip


SEQUENCE_TABLES: dict[str, Callable[[], Table]] = {
    "sasrec-ml-1m": sasrec_ml_1m,
    "amazon-beauty-s3rec": amazon_beauty_s3rec,
}

import types

import pytest

from kerasrec.runs.clicks.overfitting import one_epoch_note
from kerasrec.runs.settings import Training


@pytest.mark.parametrize(
    ("figures", "higher", "noted"),
    [
        ([0.80, 0.78, 0.75], True, True),
        ([0.80], True, False),  # nothing came later
        ([], True, False),
        ([0.80, 0.78, 0.81], True, False),  # a later one was better
        ([0.80, 0.79, 0.80], True, False),  # or as good
        ([0.80, 0.799, 0.798], True, False),  # or hardly worse
        ([0.78, 0.80, 0.70], True, False),  # the second was the best
        ([0.45, 0.50, 0.60], False, True),
        ([0.45, 0.40, 0.60], False, False),
        ([0.45, 0.452], False, False),
    ],
)
def test_the_first_epoch_is_noted_if_later_ones_are_clearly_worse(figures, higher, noted):
    found = one_epoch_note(None, Training(), "val_auc", figures, higher=higher)
    assert (found is not None) == noted


def test_the_sentence_names_what_helps():
    model = types.SimpleNamespace(embedding_dim=16)
    found = one_epoch_note(model, Training(), "val_loss", [0.4, 0.5, 0.6], higher=False)
    assert found == (
        "val_loss was best after epoch 1 (0.4000) and 0.6000 after epoch 3, as happens where "
        "tables of many ids learn rows by heart: try --table_l2 0.01, --min_count 5 or "
        "--embedding_dim 8."
    )
    penalized = Training(table_l2=0.005)
    found = one_epoch_note(None, penalized, "val_loss", [0.4, 0.5], higher=False)
    assert found.endswith("try a --table_l2 above 0.005 or --min_count 5.")

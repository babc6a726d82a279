import io
import sys

import numpy as np
import pytest

from kerasrec._progress import progress
from kerasrec.evaluation import rank, recommend
from kerasrec.models import EmbeddingMLP, MatrixFactorization
from kerasrec.schema import Categorical, Schema


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), False), (io.StringIO(), True)])
def test_nothing_is_drawn_unasked_or_elsewhere(stream, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("adding", 3, shown=shown) as advance:
        advance(3)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("kind", [EmbeddingMLP, MatrixFactorization])
def test_rankings_count_their_queries(kind, monkeypatch):
    model = kind(Schema(user=Categorical("user", 9), item=Categorical("item", 12)))
    test = {"user": np.arange(2, 9), "item": np.arange(2, 9)}
    for call, text in ((rank, "ranking"), (recommend, "recommending")):
        for verbose in (False, True):
            monkeypatch.setattr(sys, "stderr", stream := Terminal())
            call(model, test, seen=None, k=3, verbose=verbose)
            found = stream.getvalue()
            assert (f"{text} " in found, "7/7" in found) == (verbose, verbose)

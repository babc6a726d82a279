import dataclasses

import numpy as np
import pytest

from kerasrec.models import LightGCN
from kerasrec.schema import IdSequence
from kerasrec.testing import CHECKS, ModelCase, tiny_schema

USERS, ITEMS = 11 + 2, 17 + 2  # padding and unknown are rows too
STARTS = USERS + 1  # of the graph, which has no edges before `adapt`

HISTORY = IdSequence("history", of="item_id", max_length=4)
OF_HISTORIES = dataclasses.replace(tiny_schema(), context=(HISTORY,))

CASES = {
    "dot product": ModelCase(
        LightGCN,
        num_params=2 * (USERS + ITEMS) * 6 + STARTS,  # trained and smoothed vectors
        kwargs={"embedding_dim": 4, "num_layers": 1, "stddev": 0.3, "l2": 0.001},
    ),
    "cosine, histories": ModelCase(
        LightGCN,
        schema=OF_HISTORIES,
        num_params=(2 * (USERS + ITEMS) + ITEMS) * 6 + STARTS,
        kwargs={"embedding_dim": 6, "num_layers": 2, "temperature": 0.2},
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(case, check):
    check(case)

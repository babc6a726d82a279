import numpy as np
import pytest

from kerasrec import data


@pytest.fixture(scope="session")
def rated():
    """30 users with 8 of 20 items each, in random order; even items are liked."""
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(20)[:8] for _ in range(30)])
    return data.Interactions.from_table(
        {
            "user_id": np.repeat(np.arange(30), 8),
            "item_id": items.ravel(),
            "rating": np.where(items.ravel() % 2, 2, 5),
            "timestamp": np.tile(np.arange(8), 30),
        }
    )


@pytest.fixture(scope="session")
def ready(rated):
    return data.prepare(data.leave_last_out(rated), positive=">=4")


@pytest.fixture(scope="session")
def with_history(rated):
    return data.prepare(data.leave_last_out(rated), positive=">=4", history=4)

import numpy as np
import pytest

from kerasrec.cli import main, terminal


@pytest.fixture(autouse=True)
def steps_are_silent(monkeypatch):
    """What is printed must not depend on how busy the machine is."""
    monkeypatch.setattr(terminal, "SHOWN_AFTER", 1e6)


def _write_ratings(path, seed=0):
    """40 users who like every third item, 6 rows each, out of 30."""
    rng = np.random.default_rng(seed)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(40):
        items = rng.choice(np.arange(user % 3, 30, 3), size=6, replace=False)
        lines += [f"u{user},{item},{1 + item % 5},{time}" for time, item in enumerate(items)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def ratings(tmp_path_factory):
    return _write_ratings(tmp_path_factory.mktemp("data") / "ratings.csv")


@pytest.fixture(scope="session")
def run(ratings, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "mf"
    # Seconds of compilation are not worth it for three short epochs.
    flags = ["--embedding_dim", "8", "--batch_size", "64", "--negatives", "4", "--epochs", "3"]
    more = [
        "--loss",
        "binary_crossentropy",
        "--decay_rate",
        "1",
        "--clipnorm",
        "1",
        "--jit_compile",
        "false",
    ]
    data = ["--data", str(ratings), "--output", str(output)]
    assert main(["fit", "MatrixFactorization", *data, *flags, *more]) == 0
    return output


@pytest.fixture(scope="session")
def write_ratings():
    """Writes the rows of `ratings`, or others of the kind, to a path."""
    return _write_ratings

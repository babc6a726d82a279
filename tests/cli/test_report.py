"""`kerasrec report` on runs that `kerasrec fit` has just written."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from kerasrec.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(30):
        items = rng.choice(np.arange(user % 3, 30, 3), size=6, replace=False)
        lines += [f"u{user},{item},4,{time}" for time, item in enumerate(items)]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    made = []
    for model, name in (("MatrixFactorization", "mf"), ("Popularity", "counts")):
        flags = ["--epochs", "2", "--jit_compile", "false", "--batch_size", "64"]
        flags += ["--gradient_interval", "1"]
        made.append(str(folder / name))
        data = ["--data", str(folder / "ratings.csv"), "--output", made[-1]]
        assert main(["fit", model, *data, *flags]) == 0
    return made


def test_a_page_and_its_numbers(runs, tmp_path, capsys):
    output = tmp_path / "pages" / "report.html"
    assert main(["report", *runs, "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    numbers = json.loads(output.with_suffix(".json").read_text())
    # A run of Popularity is the baseline: counted on the same rows, there is no second one.
    found = {model["name"]: model for model in numbers["models"]}
    assert len(numbers["models"]) == 2
    mf, counts = found["mf"], found["counts"]  # the better one comes first
    stored = json.loads((Path(runs[0]) / "metrics.json").read_text())
    at = numbers["list_length"]
    assert mf["metrics"][f"ndcg@{at}"]["mean"] == pytest.approx(stored[1][f"ndcg@{at}"], abs=1e-6)
    assert stored[0]["model"] == "popularity"
    for name in numbers["metrics"]:
        assert counts["metrics"][name]["mean"] == pytest.approx(stored[0][name], abs=1e-6)
    assert len(mf["history"]["loss"]) == 2 and mf["seconds"]["training"] > 0
    page = output.read_text()
    assert f"{mf['metrics']['mrr']['mean']:.4f}" in page
    assert re.search("audit of", page)
    norms = [name for name in mf["history"] if name.startswith("grad_norm/")]
    assert len(norms) == 5 and all(value > 0 for value in mf["history"][norms[0]])
    assert "Gradient norm" in page
    assert sorted(path.name for path in output.parent.iterdir()) == ["report.html", "report.json"]


def test_what_is_refused(runs, tmp_path, capsys):
    assert main(["report", *runs, "--output", "report.pdf"]) == 2
    assert "expected a name that ends in .html" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "expected a directory that `kerasrec fit` wrote" in capsys.readouterr().err
    assert main(["report", runs[0], runs[0]]) == 2
    assert "different names" in capsys.readouterr().err

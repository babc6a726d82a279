"""The demo, on the real data, where they are: what `make demo` promises, but for the time."""

import os
import re
from pathlib import Path

import pytest

from kerasrec.cli import main
from kerasrec.datasets import cache_dir

FOLDERS = [Path(os.environ.get("KERASREC_DATA", "/nowhere")) / "ml-100k", cache_dir() / "ml-100k"]


@pytest.mark.slow
@pytest.mark.skipif(
    not any(folder.is_dir() for folder in FOLDERS),
    reason="movielens-100k is neither in KERASREC_DATA nor in the cache",
)
def test_the_demo_goes_from_ratings_to_a_served_model(tmp_path, capsys):
    served = tmp_path / "served" / "ml"
    assert main(["demo", "--directory", str(served)]) == 0
    out = capsys.readouterr().out
    names = re.search(r"^model +.*$", out, re.M)[0].split()
    rows = [line.split() for line in re.findall(r"^\w+(?: +\d\.\d{4})+$", out, re.M)]
    assert {len(row) for row in rows} == {len(names)}
    figures = {row[0]: float(row[names.index("ndcg@10")]) for row in rows}
    assert figures["MatrixFactorization"] > 1.15 * figures["Popularity"]
    assert figures["EmbeddingMLP"] > 1.15 * figures["Popularity"]
    assert "verified: every difference is within 1e-05" in out
    listed = out.partition("Ten others, from the exported model:\n")[2].splitlines()[:10]
    assert all(float(line.split()[0]) and "(19" in line for line in listed)
    assert f"source={served.resolve()}" in out
    assert "docker run" in out
    assert (served / "1" / "saved_model.pb").is_file()

"""`kerasrec export --filter_by`: a request asks for some categories and gets their items alone."""

import re

import pytest

import kerasrec
from kerasrec.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("categories")
    rows = [f"u{u},{i},{1 + i % 5},{(i + u) % 10}" for u in range(12) for i in range(u % 2, 10, 2)]
    (folder / "ratings.csv").write_text("user_id,item_id,rating,timestamp\n" + "\n".join(rows))
    lines = [f"{i},{'low' if i < 5 else 'high'}{'|third' if i % 3 == 0 else ''}" for i in range(9)]
    (folder / "items.csv").write_text("item_id,genres\n" + "\n".join(lines))
    run = ["--data", str(folder / "ratings.csv"), "--output", str(folder / "run")]
    assert main(["fit", "Popularity", *run]) == 0
    return folder


@pytest.mark.slow
def test_a_request_filters_by_category(folder, tmp_path):
    served = str(tmp_path / "served")
    flags = ["--filter_by", "genres", "--items", str(folder / "items.csv"), "--k", "5"]
    assert main(["export", str(folder / "run"), served, *flags]) == 0
    assert main(["verify", served]) == 0
    model = kerasrec.serving.load(served)

    def items(allow):
        (answer,) = model.recommend({"user_id": ["u1"]}, allow=[allow]).rows()
        return {item for item, _ in answer}

    assert items(["high"]) <= {5, 6, 7, 8}
    assert items(["third"]) == {0, 3, 6}
    assert items(["unheard of"]) == set()
    assert len(items([])) == 5  # no filter; item 9, which the table lacks, is there too


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--filter_by", "genres"], "has no item table.*--items"),
        (["--items", "items.csv"], "--items items.csv: it is read for --filter_by alone"),
        (["--filter_by", "mood", "--items", "ITEMS"], r"columns \['item_id', 'genres'\].*'mood'"),
        (["--filter_by", "genres", "--items", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["--filter_by", "genres", "--items", "TWICE"], "an item occurs in several rows"),
        (["--filter_by", "genres", "--items", "OTHERS"], "no item of the run has a category"),
    ],
)
def test_what_is_refused(flags, message, folder, tmp_path, capsys):
    (tmp_path / "twice.csv").write_text("item_id,genres\n1,a\n1,b\n")
    (tmp_path / "others.csv").write_text("item_id,genres\n77,a\n")
    files = {
        "ITEMS": folder / "items.csv",
        "TWICE": tmp_path / "twice.csv",
        "OTHERS": tmp_path / "others.csv",
    }
    flags = [str(files.get(flag, flag)) for flag in flags]
    assert main(["export", str(folder / "run"), str(tmp_path / "served"), *flags]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "served").exists()

"""Every page of a benchmark is made from its results, by the script of today."""

import importlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS, DOCS = ROOT / "benchmarks", ROOT / "docs" / "benchmarks"
# Pages whose script has another name; tables are written by published.py.
SCRIPTS = {"kills": "kill"}
# Measuring code apart from the script.
MEASURING = {"recipes": "recipes_training"}
TABLES = (
    "ncf-ml-1m",
    "gowalla-lightgcn",
    "ml-100k-ratings",
    "ml-1m-ratings",
    "sasrec-ml-1m",
    "amazon-beauty-s3rec",
)
# The index is written by hand.
PAGES = sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")
# Stale: the script has changed, or the page names no commit yet. Remake a page, take it off.
TO_BE_REMADE = {
    "distribute",
    "evaluation_accuracy",
    "first_use",
    "gowalla-lightgcn",
    "input_pipeline",
    "kill_workers",
    "kills",
    "ml-100k-ratings",
    "ml-1m-ratings",
    "recommend_latency",
    "sequence_stability",
    "serving",
    "zoo",
}
FRESH = [name for name in PAGES if name not in TO_BE_REMADE]


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("pages")


def source_of(name, pages):
    """The hash of the code that would measure the page today."""
    if name in TABLES:
        published = importlib.import_module("published")
        return published.source_of(name)
    script = BENCHMARKS / f"{(SCRIPTS | MEASURING).get(name, name)}.py"
    return pages.fingerprint(pages.modules(script))


def is_stale(name, pages):
    """Whether the page names no commit, another source or other settings than those of today."""
    text = (DOCS / f"{name}.md").read_text("utf-8")
    made = re.findall(r"^(?:- Commit:|commit ) .*?; source (.*)$", text, re.M)
    return made != [source_of(name, pages)] or (name in TABLES and misses_results(name, pages))


def misses_results(name, pages):
    """Whether a published table has a model without results of the settings of today."""
    published = importlib.import_module("published")
    table = published.TABLES[name]()
    options = {"source": "", "page": True}
    try:
        published.run(table, [0, 1, 2], list(table.models), pages.RESULTS / name, **options)
    except SystemExit:
        return True
    return False


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_fresh_or_listed(name, pages):
    if name in TO_BE_REMADE:
        assert is_stale(name, pages), f"{name} has been remade: take it off TO_BE_REMADE."
    else:
        assert not is_stale(name, pages), f"{name} is stale: run its script again."


def test_the_list_names_pages(pages):
    assert set(PAGES) >= TO_BE_REMADE
    assert {name for name in PAGES if (BENCHMARKS / f"{SCRIPTS.get(name, name)}.py").is_file()} == (
        set(PAGES) - set(TABLES)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", FRESH)
def test_a_page_is_remade_from_its_results(name, pages, tmp_path, monkeypatch):
    script = "published" if name in TABLES else SCRIPTS.get(name, name)
    words = [name] if name in TABLES else []
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{script}.py", *words, "--page"])
    monkeypatch.setattr(pages, "DOCS", tmp_path)
    if not os.environ.get("KERASREC_DATA"):
        pytest.skip("needs real data: set KERASREC_DATA to a folder of data sets")
    try:
        importlib.import_module(script).main()
    except SystemExit as end:
        # Some end with the number of goals that were missed.
        assert isinstance(end.code, int | None)
    assert (tmp_path / f"{name}.md").read_bytes() == (DOCS / f"{name}.md").read_bytes()


def bench(pages, measure, **options):
    """A small benchmark with two sides and two rounds."""
    page = pages.Page("small", __file__, {"rounds": 2}, **options)
    found = page.rounds(["ours", "theirs"], page.settings["rounds"], measure)
    page.write("\n".join([*page.head("seed 0"), json.dumps(found)]))
    return page


@pytest.fixture
def folders(pages, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(pages.describing, "load", lambda: "idle")
    return tmp_path


def test_a_page_is_remade_byte_for_byte_without_measuring(pages, folders, monkeypatch):
    calls = []

    def measure(side, number):
        calls.append((side, number))
        return {"ms": len(calls) / 3}

    bench(pages, measure)
    # The second round goes backwards.
    assert calls == [("ours", 0), ("theirs", 0), ("theirs", 1), ("ours", 1)]
    written = (folders / "docs" / "small.md").read_bytes()
    assert re.search(rb"commit    \w+ with (a clean tree|changed files); source \w{12}\n", written)
    assert sorted(path.name for path in (folders / "results" / "small").iterdir()) == [
        "round0.json",
        "round1.json",
        "run.json",
    ]
    (folders / "docs" / "small.md").unlink()
    monkeypatch.setattr(pages.describing, "versions", lambda *a, **b: "Python 4")
    monkeypatch.setattr(pages.describing, "load", lambda: "busy")
    bench(pages, measure, remake=True)
    assert (folders / "docs" / "small.md").read_bytes() == written
    assert len(calls) == 4
    # A run that had ended begins anew.
    bench(pages, measure)
    assert len(calls) == 8


def test_a_page_says_what_was_measured_again(pages, folders):
    page = bench(pages, lambda side, number: number)
    assert "Measured again" not in page.bullets()
    path = folders / "results" / "small" / "run.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps(held | {"again": {"ours": "`python small.py`, commit 1a2b3c"}}))
    last = bench(pages, None, remake=True).bullets().splitlines()[-1]
    assert last == "- Measured again: ours, `python small.py`, commit 1a2b3c"


def test_a_broken_run_goes_on_only_with_the_same_code(pages, folders):
    calls = []

    def measure(side, number):
        calls.append((side, number))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return number

    with pytest.raises(KeyboardInterrupt):
        bench(pages, measure, source="a" * 12)
    assert not (folders / "docs").exists()
    bench(pages, measure, source="a" * 12)
    assert calls[3:] == [("theirs", 1), ("ours", 1)]
    calls[:] = []
    with pytest.raises(KeyboardInterrupt):
        bench(pages, measure, source="a" * 12)
    bench(pages, measure, source="b" * 12)
    assert len(calls) == 3 + 4


def test_a_part_of_a_run_writes_no_page(pages, folders):
    page = bench(pages, lambda side, number: 1, keep=False)
    assert not (folders / "docs").exists() and not (folders / "results").exists()
    assert not page.folder.exists()


def test_no_results_no_page(pages, folders):
    with pytest.raises(SystemExit, match="no results"):
        pages.Page("small", __file__, {}, remake=True)


def test_the_source_is_that_of_the_code_that_measures(pages, tmp_path, monkeypatch):
    script, module = tmp_path / "script.py", tmp_path / "helper.py"
    code = '"""About."""\nimport helper\nABOUT = """Text."""\n\n\ndef measure():\n    return 1\n'
    code += '\n\ndef report():\n    """Text."""\n    return helper.x\n'
    script.write_text(code)
    module.write_text("x = 1\n")
    before = pages.fingerprint(pages.modules(script))

    def after(old, new, path=script):
        kept = path.read_text()
        assert old in kept
        path.write_text(kept.replace(old, new))
        found = pages.fingerprint(pages.modules(script))
        path.write_text(kept)
        return found

    assert after("Text.", "Other text.") == before
    assert after("About.", "What for.") == before
    assert after("return helper.x", "return 2 * helper.x") == before  # rendering
    assert after("def measure", "# why\ndef measure") == before
    assert after("return 1", "return (\n        1\n    )") == before  # layout
    assert after("import helper", "import helper as other") == before  # where a name lives
    monkeypatch.setitem(pages.RENAMED, "a.gauge", "measure")
    assert after("def measure", "def gauge") != before
    monkeypatch.setitem(pages.RENAMED, "gauge", "measure")
    assert after("def measure", "def gauge") == before
    assert after("def measure", "def gauges") != before
    assert after("return 1", "return 2") != before
    assert after("x = 1", "x = 2", module) != before


def test_intervals_over_the_rounds(pages):
    turns = importlib.import_module("turns")
    level = turns.mean([1.0, 2.0, 3.0])
    # t of 2 degrees of freedom is 4.3027, the deviation 1.
    assert level.mean == 2.0
    assert level.high - 2.0 == pytest.approx(4.302653 / 3**0.5, abs=1e-5)
    assert 2.0 - level.low == pytest.approx(level.high - 2.0)
    # What slows down both sides of a round leaves the ratio.
    found = turns.ratio([1.0, 10.0, 7.0], [2.0, 20.0, 14.0])
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    there, back = turns.ratio([1, 2, 4], [3, 5, 6]), turns.ratio([3, 5, 6], [1, 2, 4])
    assert there.low == pytest.approx(1 / back.high)
    assert turns.ratio([1.0], [2.0]).show() == "0.50 (0.00 to inf)"
    assert turns.order(["a", "b"], 0) == ["a", "b"] and turns.order(["a", "b"], 1) == ["b", "a"]

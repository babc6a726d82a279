"""The code of the guides is run, from top to bottom, on some rows; their figures are looked up."""

import pathlib
import re
import warnings

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"
RUN = re.compile("^```(python|sh)$", re.M)
PAGES = sorted([DOCS / "index.md", DOCS / "glossary.md", *DOCS.glob("guides/*.md")])


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [p for p in PAGES if RUN.search(p.read_text("utf-8"))], ids=lambda p: p.stem
)
def test_the_code_runs_from_top_to_bottom(page, documentation, ratings, capsys):
    text = page.read_text("utf-8")
    with warnings.catch_warnings():
        # Lists of so few items are what they are: the guides are about more of them.
        warnings.filterwarnings("ignore", category=UserWarning)
        documentation.run(text, page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_figures_are_those_of_the_pages_they_link_to(page, documentation):
    assert not documentation.unmeasured(page)


def test_the_comparison_of_figures_can_fail(documentation, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    text = "| MF | 0.9081 ± 0.0004 | 1,234 | 4.4e+08 |"
    (tmp_path / "benchmarks/mf.md").write_text(text)
    assert documentation.numbers(text) == ["0.9081", "0.0004", "1234", "4.4e+08"]
    page = tmp_path / "page.md"
    page.write_text("It is 0.908 of 1,234 ([page](benchmarks/mf.md)).\n\n0.1 links to nothing.")
    assert documentation.unmeasured(page) == []
    page.write_text("| 0.907 | 1,235 | [page](benchmarks/mf.md) |\n| 0.1 | no link |")
    assert [found.split()[0] for found in documentation.unmeasured(page)] == ["0.907", "1235"]


def test_a_guide_that_breaks_is_noticed(documentation, ratings):
    with pytest.raises(AssertionError):
        documentation.run("```python\nvalue = 1\n```\n\n```python\nassert value == 2\n```\n", "x")
    with pytest.raises(AssertionError, match="nowhere"):
        documentation.run("```sh\nkerasrec audit nowhere.csv\n```\n", "x")

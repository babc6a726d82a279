"""Every notebook runs at small size, says what to expect, and is the one that the docs show."""

import ast
import base64
import importlib.util
import io
import json
import os
import pathlib
import re

import nbformat
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXPECTED = re.compile(r"^\| `(.+?)` \| (-?[\d.]+) ± ([\d.]+) \|$", re.M)
MOST_BYTES = 300_000

# Notebooks about the training loop itself compile by hand: what breaks it, and what shares it.
ABOUT_THE_LOOP = {"02", "03", "08"}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def page_of(path):
    return (PAGES / f"{path.stem}.md").read_text("utf-8")


def expected_of(path):
    """Figure, value and tolerance, as the first cell says."""
    found = EXPECTED.findall(read(path).cells[0].source)
    return {name: (float(value), float(tolerance)) for name, value, tolerance in found}


@pytest.fixture(scope="module")
def render():
    spec = importlib.util.spec_from_file_location("render", ROOT / "notebooks" / "render.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each
def test_outputs_are_stripped(path):
    notebook = read(path)
    for cell in code_of(notebook):
        assert cell.outputs == [] and cell.execution_count is None and cell.metadata == {}
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@each
def test_the_first_cell_says_what_to_expect(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem[:2]} ")
    assert re.search(
        r"^\*\*Expected time:\*\* about \d+ minutes? on 2 CPU cores\.$", first.source, re.M
    )
    assert "**Expected figures:**" in first.source
    assert expected_of(path)


@each
def test_the_size_can_be_seen_and_set(path):
    assert any(
        'small = os.environ.get("KERASREC_NOTEBOOK_SIZE") == "small"' in cell.source
        for cell in code_of(read(path))
    )


def calls_of(source):
    """What is called, such as `kerasrec.runs.train` and `model.compile`."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [ast.unparse(called) for called in calls]


@each
def test_trainings_are_those_of_kerasrec_fit(path):
    """They are made by `kerasrec.runs`, as on the command line, and never put together anew."""
    cells = [cell.source.replace("%%writefile", "# ") for cell in code_of(read(path))]
    calls = [call for source in cells for call in calls_of(source)]
    by_hand = [call for call in calls if call.endswith(".compile")]
    if path.stem[:2] in ABOUT_THE_LOOP:
        assert by_hand
    else:
        assert not by_hand
        assert {"kerasrec.runs.fit", "kerasrec.runs.train"} & {*calls}


@pytest.mark.parametrize(
    "name", ["kerasrec/cli/_fit.py", "kerasrec/cli/demo.py", "benchmarks/zoo.py"]
)
def test_so_are_those_of_command_line_demo_and_zoo(name):
    calls = calls_of((ROOT / name).read_text("utf-8"))
    assert not [call for call in calls if call.endswith(".compile") or "optimizers" in call]
    assert {"kerasrec.runs.fit", "kerasrec.runs.train", "runs.fit"} & {*calls}


@each
def test_plots_say_what_to_see(path):
    cells = read(path).cells
    assert sum("plt.show()" in cell.source for cell in cells) >= 1
    assert sum("**What to see.**" in cell.source for cell in cells) >= 2


@each
def test_the_page_shows_this_notebook(path):
    """Rendered from these very cells: `make notebooks` after a change."""
    page, place = page_of(path), 0
    for cell in read(path).cells:
        found = page.find(cell.source, place)
        assert found >= 0, (
            f"not in docs/notebooks/{path.stem}.md; run make notebooks:\n{cell.source}"
        )
        place = found
    pictures = re.findall(r"^!\[.*?\]\((.+)\)$", page, re.M)
    assert pictures
    sizes = [(PAGES / name).stat().st_size for name in pictures]
    assert sum(sizes) + len(page) < MOST_BYTES
    assert f"({path.stem}.md)" in (PAGES / "index.md").read_text("utf-8")
    # Nobody's machine is on it.
    assert not re.search(r"/(home|root|tmp|work)/", page)


@each
def test_the_figures_of_the_page_are_those_of_the_first_cell(path):
    last = re.findall(r"(?:^    .*\n)+", page_of(path), re.M)[-1]
    figures = ast.literal_eval(last.strip())
    for name, (value, tolerance) in expected_of(path).items():
        assert abs(figures[name] - value) <= tolerance, name


def test_pictures_are_made_small(render):
    """Lines keep their colours."""
    picture, line = Image.new("RGB", (300, 200), "white"), (31, 119, 180)
    for place in range(300):
        picture.putpixel((place, 100), line)
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=0)
    small = render.small_picture(data.getvalue())
    assert len(small) < len(data.getvalue()) / 20
    with Image.open(io.BytesIO(small)) as found:
        assert found.convert("RGB").getpixel((150, 100)) == line


def test_a_page_has_text_code_outputs_and_pictures(render, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "PAGES", tmp_path)
    data = io.BytesIO()
    Image.new("RGB", (2, 2)).save(data, "PNG")
    picture = base64.b64encode(data.getvalue()).decode()
    cell = nbformat.v4.new_code_cell("plt.show()")
    cell.outputs = [
        nbformat.v4.new_output("display_data", data={"image/png": picture}),
        nbformat.v4.new_output("stream", text="told\n"),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), cell])
    notebook.metadata["language_info"] = {"name": "python"}
    older = tmp_path / "09-nine_files" / "older.png"
    older.parent.mkdir()
    older.touch()
    page = render.write(pathlib.Path("09-nine.ipynb"), notebook).read_text("utf-8")
    assert re.match(r"# Title\n+```python\nplt.show\(\)\n```\n", page)
    (name,) = re.findall(r"^!\[.+\]\((.+)\)$", page, re.M)
    assert (tmp_path / name).stat().st_size and "    told\n" in page
    assert not older.exists()


def test_one_blank_line_stands_where_several_did_and_code_stays(render):
    page = "# Title\n\n\n```python\none = 1\n\n\ntwo = 2\n```\n\n\n    1\n\n\n\nText\n"
    expected = "# Title\n\n```python\none = 1\n\n\ntwo = 2\n```\n\n    1\n\nText\n"
    assert render.without_gaps(page) == expected


@each
def test_the_page_has_no_gaps(path, render):
    assert render.without_gaps(page_of(path)) == page_of(path)


@pytest.fixture
def execute(render, tmp_path, monkeypatch):
    """Runs a notebook at small size in an empty folder; gives its figures."""
    data = os.environ.get("KERASREC_DATA")
    if not data or not pathlib.Path(data).is_dir():
        pytest.skip("needs real data: set KERASREC_DATA to a folder of data sets")
    monkeypatch.setenv("KERASREC_NOTEBOOK_SIZE", "small")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))

    def run(name):
        (path,) = (path for path in NOTEBOOKS if path.stem.startswith(name))
        notebook = render.execute(path, tmp_path, "import json; print(json.dumps(figures))")
        outputs = [output for cell in code_of(notebook) for output in cell.outputs]
        told = [output.text for output in outputs if output.get("name") == "stderr"]
        assert not told
        plots = sum("image/png" in output.get("data", {}) for output in outputs)
        assert plots == len(re.findall(r"^!\[", page_of(path), re.M))
        figures = json.loads(notebook.cells[-1].outputs[-1].text)
        assert figures.keys() >= expected_of(path).keys()
        return figures

    return run


@pytest.mark.slow
def test_01_ends_with_a_served_model(execute, tmp_path):
    figures = execute("01")
    assert 0.08 < figures["hr@10 popularity"] < 0.09
    assert figures["films in the served answer"] == 10
    assert (tmp_path / "served" / "quick-start" / "1" / "saved_model.pb").stat().st_size


@pytest.mark.slow
def test_02_explodes_and_every_remedy_trains(execute):
    figures = execute("02")
    assert figures["blows up without a remedy"] == 1
    assert figures["remedies that train"] == 8
    remedies = [value for name, value in figures.items() if name.startswith("mse")]
    assert len(remedies) == 4 and max(remedies) < 5


@pytest.mark.slow
def test_03_explodes_through_time_and_is_tamed(execute):
    figures = execute("03")
    assert figures["blows up without a remedy"] == 1
    assert figures["remedies that train"] >= 2
    assert 0.5 < figures["auc stacked LSTM"] < 1 and 0.5 < figures["auc matrix factorisation"] < 1


@pytest.mark.slow
def test_04_has_the_gradients_of_tensorflow(execute):
    figures = execute("04")
    assert figures["largest difference of gradients, matrix factorisation"] < 1e-6
    assert figures["largest difference of gradients, embedding MLP"] < 1e-6
    assert 0.08 < figures["hr@10 popularity"] < 0.09
    assert 0 < figures["hr@10 NeuMF"] < 0.3


@pytest.mark.slow
def test_05_ranks_with_histories(execute):
    figures = execute("05")
    assert figures["epochs"] == 1
    assert 0.08 < figures["hr@10 popularity"] < 0.09
    assert 0 < figures["hr@10 SASRec"] < 0.3


@pytest.mark.slow
def test_06_shows_each_mistake(execute):
    figures = execute("06")
    assert figures["hr@10 constant by in_top_k"] == 1.0
    assert 0.004 < figures["hr@10 constant, fair"] < 0.009
    among_all = figures["hr@10 matrix factorisation"]
    assert figures["hr@10 matrix factorisation, 99 sampled films"] > 3 * among_all


@pytest.mark.slow
def test_07_serves_two_versions_without_a_failure(execute, tmp_path):
    """In a folder that holds a version already, as on its second run."""
    (tmp_path / "served" / "films" / "1").mkdir(parents=True)
    figures = execute("07")
    assert figures["newest version that was served"] == 3
    assert figures["verified signatures"] == 8
    assert figures["failed requests under load"] == 0
    assert figures["failed requests while the version was swapped"] == 0
    assert figures["requests per second, most"] > 0
    for version in ("2", "3"):
        assert (tmp_path / "served" / "films" / version / "saved_model.pb").stat().st_size


@pytest.mark.slow
def test_08_trains_alike_on_one_and_two(execute):
    figures = execute("08")
    assert figures["largest difference of losses, two replicas"] < 1e-4
    assert figures["largest difference of losses, two workers"] < 1e-4
    assert figures["largest difference of losses, stock optimizer"] > 3e-3
    assert figures["replicas of two workers"] == 2


@pytest.mark.slow
def test_09_has_the_gradients_of_keras_and_serves_raw_numbers(execute, tmp_path):
    figures = execute("09")
    assert figures["largest error of gradients by hand"] < 1e-7
    assert figures["largest difference of gradients, Keras"] < 1e-4
    assert figures["largest difference of losses, Keras"] < 1e-4
    assert figures["trainings that blow up"] == 1
    assert 0.6 < figures["auc by hand"] < figures["auc the truth"]
    assert 0.5 < figures["auc FeatureMLP"] < figures["auc the truth"]
    assert figures["verified signatures"] == 5
    assert (tmp_path / "served" / "machines" / "1" / "saved_model.pb").stat().st_size


@pytest.mark.slow
def test_10_compares_models_on_fewer_rows(execute):
    figures = execute("10")
    assert 0.043 < figures["ndcg@10 popularity, all rows"] < 0.045
    assert figures["ndcg@10 EASE, all rows"] > 1.5 * figures["ndcg@10 popularity, all rows"]
    assert figures["ndcg@10 EASE, a tenth of the rows"] < figures["ndcg@10 EASE, all rows"] / 2
    assert figures["largest difference by hand"] < 1e-4

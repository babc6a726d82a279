import html.parser
import json
import re
import shutil
import subprocess

import pytest

from kerasrec import reports
from kerasrec.reports import page, read_recorded

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture
def numbers(write, tmp_path):
    norms = {"loss": [2.0, 1.0], "grad_norm/a": [3.0, 6.0], "grad_norm/b": [4.0, 8.0]}
    runs = (
        write(tmp_path / "mf"),
        write(tmp_path / "a-run-with-quite-a-long-name", 0.1, history=norms),
    )
    return reports.numbers([read_recorded(run) for run in runs])


@pytest.fixture
def click_numbers(write_clicks, tmp_path):
    runs = write_clicks(tmp_path / "mlp"), write_clicks(tmp_path / "a-run-with-a-long-name", 1.5)
    return reports.numbers([read_recorded(run) for run in runs])


class Checker(html.parser.HTMLParser):
    """Every tag that is opened is closed, in order."""

    VOID = ("meta",)

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ["numbers", "click_numbers"])
def test_the_page_is_well_formed_and_needs_no_network(kind, request):
    text = page(request.getfixturevalue(kind))
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert not re.search(r"(src|href)=|url\(|@import|https?://", text)


def test_texts_of_users_are_escaped(numbers):
    text = page(numbers)
    assert "Rows <b>were" not in text.split('<script type="application/json"')[0]
    assert "Rows &lt;b&gt;were" in text and "rows are &lt;later&gt;" in text


def test_the_numbers_on_the_page_are_those_of_the_json(numbers):
    text = page(numbers)
    inside = re.search(r'id="numbers">(.*?)</script>', text, re.S)[1]
    assert json.loads(inside.replace("<\\/", "</")) == json.loads(json.dumps(numbers))
    rows = re.findall(r"<tr><td>(.*?)</tr>", text)
    for model, row in zip(numbers["models"], rows, strict=False):
        for name in numbers["metrics"]:
            value = model["metrics"][name]
            assert f"{value['mean']:.4f}" in row
            assert f"{value['low']:.4f} to {value['high']:.4f}" in row
    # The better run first, then the reference, which is tested against nothing.
    assert '<strong class="best">0.4750</strong> ▲' in rows[0] and "0.1875 ▼" in rows[2]
    assert "▲" not in rows[1] and "▼" not in rows[1]
    assert 'class="best"' not in rows[2] and "0.3750</strong>" not in rows[1]


def test_losses_of_two_kinds_share_no_axis(write, tmp_path):
    runs = [
        write(tmp_path / name, flags={"loss": loss})
        for name, loss in (("a", "softmax"), ("b", "mse"), ("c", "mse"))
    ]
    text = page(reports.numbers([read_recorded(run) for run in runs]))
    titles = re.findall(r"<figure><h3>((?:val_)?loss[^<]*)</h3>(.*?)</figure>", text)
    names = ["loss: mse", "loss: softmax", "val_loss: mse", "val_loss: softmax"]
    assert [title for title, _ in titles] == names
    assert [chart.count('<path class="line') for _, chart in titles] == [2, 1, 2, 1]


def test_sample_lists_have_titles_and_mark_what_was_found(numbers):
    text = page(numbers)
    section = text.split("<h2>Sample lists</h2>")[1].split("</section>")[0]
    assert "<h3>User u7</h3>" in section and "Before: Brazil" in section
    rows = re.findall(r"<tr><td>(.*?)</tr>", section)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", f"<td>{row}") for row in rows]
    assert [row[1:] for row in cells] == [
        ["Alien ●", "Alien ●", "Heat"], ["&lt;Jaws&gt;", "&lt;Jaws&gt;", "Alien ●"],
    ]  # fmt: skip
    for model in numbers["models"]:
        model["samples"] = []
    assert "These runs have no sample lists." in page(numbers)


def test_gradient_norms_are_summed_over_variables(numbers):
    text = page(numbers)
    assert "Gradient norm" in text
    for model in numbers["models"]:
        for name in ("grad_norm/a", "grad_norm/b"):
            model["history"].pop(name, None)
    assert "Gradient norm" not in page(numbers)


MEASURE = """
<script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("section, figure, h1, p, pre")];
  const out = seen.filter(e => e.getBoundingClientRect().right > innerWidth + 1).length;
  const names = [...document.querySelectorAll("section > .wide td:first-child")];
  const narrow = names.filter(e => e.getBoundingClientRect().width < 100).length;
  let overlaps = 0, small = 0;
  for (const svg of document.querySelectorAll("figure > svg")) {
    const boxes = [...svg.querySelectorAll("text")].map(e => e.getBoundingClientRect());
    const edge = svg.getBoundingClientRect();
    for (let i = 0; i < boxes.length; i++) {
      const a = boxes[i];
      if (a.left < edge.left - 1 || a.right > edge.right + 1) out2++;
      if (Math.min(a.height, a.width) < 4) small++;
      for (let j = 0; j < i; j++) {
        const b = boxes[j];
        if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 &&
            b.top < a.bottom - 3) overlaps++;
      }
    }
  }
  const found = {out, out2, overlaps, small, narrow, wide: document.documentElement.scrollWidth,
    charts: document.querySelectorAll("figure > svg").length};
  document.body.innerHTML = "<pre id=found>" + JSON.stringify(found) + "</pre>";
});
let out2 = 0;
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("kind", ["numbers", "click_numbers"])
def test_in_headless_chromium(kind, width, request, tmp_path):
    numbers = request.getfixturevalue(kind)
    # Headless windows are at least 500 wide: the phone is a frame inside.
    (tmp_path / "report.html").write_text(page(numbers).replace("</body>", f"{MEASURE}</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id=f src="report.html" style="width:{width}px;height:900px"></iframe><script>'
        "addEventListener('load', () => { document.body.dataset.found = "
        "f.contentDocument.getElementById('found').textContent })</script>"
    )
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000",
         "--virtual-time-budget=10000", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    found = json.loads(re.search('data-found="([^"]+)"', done.stdout)[1].replace("&quot;", '"'))
    assert found["charts"] >= (10 if kind == "numbers" else 6)
    faults = {name: found[name] for name in ("out", "out2", "overlaps", "small", "narrow")}
    assert faults == dict.fromkeys(faults, 0)
    assert found["wide"] <= width

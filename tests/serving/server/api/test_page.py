"""The page in a browser, as a user sees it."""

import json
import re
import shutil
import subprocess

import pytest

from kerasrec.data import Vocabulary
from kerasrec.models import StackedLSTMClassifier
from kerasrec.schema import Categorical, IdSequence, NumericSequence, Schema
from kerasrec.serving import export
from kerasrec.serving.server.api.page import PAGE, read_histories, read_titles

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def films(movies, serving, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    titles, history = folder / "titles.csv", folder / "history.csv"
    rows = [f"{number},Film <b>{number}</b>" for number in range(100, 140)]
    titles.write_text("\n".join(["item_id,title", *rows]) + "\n")
    history.write_text("user_id,item_id,rating\nann,101,5\nbob,102,1\nann,139,3\n")
    with serving(movies, titles_file=str(titles), history_file=str(history)) as client:
        yield client


def test_the_page_needs_no_network():
    text = PAGE.read_text("utf-8")
    assert not re.search(r"(src|href)=|url\(|@import|https?://", text)


def test_what_the_page_asks_for(films):
    about = json.loads(films.raw("GET", "/page/about")[1])
    assert (about["model"], about["user"], about["item"]) == ("movies", "user_id", "item_id")
    assert about["signatures"]["recommend"]["user_id"] == {"dtype": "string", "rank": 1}
    assert [example["kind"] for example in about["examples"]][:2] == ["known", "known"]
    known = json.loads(films.raw("GET", "/page/history?user=ann")[1])
    assert known["known"] and [item["item_id"] for item in known["items"]] == ["101", "139"]
    assert known["items"][0]["title"] == "Film <b>101</b>"
    assert json.loads(films.raw("GET", "/page/history?user=eve")[1])["known"] is False
    titles = json.loads(films.raw("POST", "/page/titles", '["100", "7"]')[1])
    assert titles == {"100": "Film <b>100</b>", "7": ""}
    for body in ("{", '{"a": 1}'):
        assert films.raw("POST", "/page/titles", body)[0] == 400


def test_a_model_that_does_not_recommend(hand_made, serving):
    with serving(hand_made) as client:
        about = json.loads(client.raw("GET", "/page/about")[1])
    assert about["user"] is None and about["examples"] == []


def test_files_of_titles(tmp_path):
    file = tmp_path / "titles.csv"
    file.write_text("id,name\n1,One\n2,Two\n")
    assert read_titles(str(file)) == {"1": "One", "2": "Two"}
    file.write_text('item_id,title\n007,"A ""B"""\n7,\n')
    assert read_titles(str(file)) == {"007": 'A "B"', "7": ""}
    file.write_text("id\n1\n")
    with pytest.raises(ValueError, match=r"expected the columns \['item_id', 'title'\]"):
        read_titles(str(file))


def test_histories_are_read_oldest_first(tmp_path):
    file = tmp_path / "history.csv"
    file.write_text("user_id,item_id,timestamp\nann,1,30\nann,2,10\nbob,3,5\n")
    users, items = read_histories(str(file))
    assert (users.to_pylist(), items.to_pylist()) == (["bob", "ann", "ann"], ["3", "2", "1"])
    file.write_text("user_id,item_id\nann,7\nann,2\n")
    assert read_histories(str(file))[1].to_pylist() == ["7", "2"]


@pytest.fixture(scope="module")
def sequences(serving, tmp_path_factory):
    """A model of histories of items and numbers, and a file of histories, the newest last."""
    schema = Schema(
        user=[
            Categorical("user_id", 4),
            IdSequence("history", of="item_id", max_length=3),
            NumericSequence("gaps", size=2, of="gap", max_length=3),
        ],
        item=Categorical("item_id", 42),
    )
    model = StackedLSTMClassifier(schema, embedding_dim=4, hidden_units=(6,), stddev=2.0)
    vocabularies = {
        "user_id": Vocabulary.fit(["ann", "bob"]), "item_id": Vocabulary.fit(list(range(100, 140))),
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("sequences")
    export(model, folder / "films", vocabularies=vocabularies, k=5, signatures=["recommend"])
    history = folder / "history.csv"
    lines = [f"bob,{item}" for item in range(100, 140) for _ in range(6)] + ["ann,117"]
    history.write_text("\n".join(["user_id,item_id", *lines]) + "\n")
    with serving(folder / "films", history_file=str(history)) as client:
        yield client


def test_the_page_knows_what_a_history_is(sequences):
    about = json.loads(sequences.raw("GET", "/page/about")[1])
    assert (about["history"], about["beside"], about["histories"]) == ("history", ["gaps"], True)
    assert about["signatures"]["recommend"]["gaps"] == {"dtype": "float32", "rank": 3, "size": 2}
    # Of a long history the newest are sent.
    found = json.loads(sequences.raw("GET", "/page/history?user=bob")[1])["items"]
    assert len(found) == 200 and found[-1]["item_id"] == "139"


@needs_chromium
@pytest.mark.slow
def test_the_page_sends_the_history_that_it_shows(sequences):
    dom = browser(f"http://127.0.0.1:{sequences.rest_port}/", "--dump-dom")
    assert re.search(r'id="error" role="alert"></p>', dom), dom[-3000:]
    history = re.search(r'<ol id="history">(.*?)</ol>', dom)[1]
    shown = re.findall(r"<li>.*?(\d+)", history)
    assert len(shown) == 200 and shown[0] == "139"
    inputs = {
        "user_id": ["bob"], "history": [[139, 139, 139]], "gaps": [[[0, 0]] * 3],
        "exclude": [list(range(106, 140))],
    }  # fmt: skip
    answer = sequences.post({"signature_name": "recommend", "inputs": inputs})[1]["outputs"]
    assert answer["fallback"] == [False]
    found = re.findall(r'data-item="(\d+)"', dom)
    assert found == [str(item) for item in answer["item_id"][0][: len(found)]] and found


def browser(address, *flags):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1100,800"]
    timing = ["--virtual-time-budget=8000", "--run-all-compositor-stages-before-draw"]
    done = subprocess.run(
        [*command, *timing, *flags, address],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    return done.stdout


@needs_chromium
@pytest.mark.slow
def test_the_page_in_a_browser(films):
    dom = browser(f"http://127.0.0.1:{films.rest_port}/", "--dump-dom")
    inputs = {"user_id": ["ann"], "exclude": [[101, 139]]}
    body = {"signature_name": "recommend", "inputs": inputs}
    best = films.post(body)[1]["outputs"]["item_id"][0]
    rows = re.findall(r'data-item="(\d+)"', dom)
    assert rows == [str(item) for item in best]
    # Titles are text, whatever they hold.
    assert f"Film &lt;b&gt;{best[0]}&lt;/b&gt;" in dom
    history = re.search(r'<ol id="history">(.*?)</ol>', dom)[1]
    assert re.findall(r"<li>.*?(\d+)", history) == ["139", "101"]  # newest first
    # Bars start at zero: the longest is full, and another is as long as its score says.
    scores = films.post(body)[1]["outputs"]["score"][0]
    widths = [float(width) for width in re.findall(r'style="width: ([\d.e-]+)%', dom)]
    assert widths == pytest.approx([100 * abs(s) / max(map(abs, scores)) for s in scores], rel=1e-3)
    similar = re.search(r'<ol id="similar">(.*?)</ol>', dom)[1]
    inputs = {"item_id": [best[0]]}
    expected = films.post({"signature_name": "similar_items", "inputs": inputs})[1]["outputs"]
    found = re.findall(r"<li>.*?(\d+)", similar)
    assert found == [str(item) for item in expected["item_id"][0]]
    assert f'id="similar-to">Similar to Film &lt;b&gt;{best[0]}' in dom
    assert re.search(r'id="latency">\d+\.\d ms<', dom)
    assert re.search(r'id="error" role="alert"></p>', dom)


@pytest.fixture(scope="module")
def clicks(serving, table_export):
    with serving(table_export[1].path.parent) as client:
        yield client, table_export[1]


def test_the_page_knows_the_columns_of_a_table(clicks):
    about = json.loads(clicks[0].raw("GET", "/page/about")[1])
    assert about["table"] == ["country", "device", "age_bucket", "tags", "age", "place"]
    assert about["user"] is about["item"] is None
    assert about["values"]["device"] == [str(2**31 + 5), "3", str(2**40)]
    assert about["signatures"]["predict"]["tags"] == {"dtype": "string", "rank": 2, "width": 3}
    assert about["signatures"]["predict"]["age"] == {"dtype": "float32", "rank": 1}
    known = [example for example in about["examples"] if example["kind"] == "known"]
    assert known and set(known[0]["inputs"]) == set(about["signatures"]["predict"])


@needs_chromium
@pytest.mark.slow
def test_the_page_predicts_a_row_of_a_table(clicks):
    client, served = clicks
    dom = browser(f"http://127.0.0.1:{client.rest_port}/", "--dump-dom")
    assert re.search(r'id="error" role="alert"></p>', dom), dom[-3000:]
    labels = re.findall(r'<label><span>(\w+)<span class="soft">([^<]*)</span>', dom)
    assert labels == [
        ("country", "category"),
        ("device", "category"),
        ("age_bucket", "number"),
        ("tags", "up to 3, comma separated"),
        ("age", "number"),
        ("place", "2 numbers, comma separated"),
    ]
    offered = re.search(r'<datalist id="values-country">(.*?)</datalist>', dom)[1]
    assert re.findall(r'value="([^"]*)"', offered) == ["né-用户-🙂", "fr", "de"]
    about = json.loads(client.raw("GET", "/page/about")[1])

    def filled(example):
        return sum(
            value not in ("", "-1")
            for values in example["inputs"].values()
            for value in (values if isinstance(values, list) else [values])
        )

    known = [example for example in about["examples"] if example["kind"] == "known"]
    row = max(known, key=filled)["inputs"]
    chance = served.predict({name: [value] for name, value in row.items()})["probability"][0]
    shown = re.search(r'id="predicted">([\d.]+) %<', dom)
    assert float(shown[1]) == pytest.approx(100 * chance, abs=0.1)

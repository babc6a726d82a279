import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kerasrec.reports.charts import HEIGHT, WIDTH, Line, bar_chart, line_chart, nice_ticks

LABELS = {"x_label": "k", "y_label": "ndcg@k"}


def numbers(svg, pattern):
    return [float(value) for value in re.findall(pattern, svg)]


def test_a_line_by_hand():
    svg = line_chart("t", [Line("mf", 0, [0, 10], [0.0, 1.0])], **LABELS)
    # 360 x 230 with margins 54, 12, 10 and 36: from (54, 194) to (348, 10).
    assert 'd="M54.0 194.0L348.0 10.0"' in svg
    ElementTree.fromstring(svg)


def test_gaps_and_single_points():
    svg = line_chart("t", [Line("a", 0, [1, 2, 3, 4], [1.0, math.nan, 2.0, None])], **LABELS)
    assert len(re.findall("<path", svg)) == 2
    assert len(re.findall("<circle", svg)) == 2
    assert "nan" not in svg


def test_names_are_escaped():
    svg = line_chart("<t>", [Line("<script>", 0, [1, 2], [1, 2])], **LABELS)
    assert "<script>" not in svg
    assert "&lt;script&gt;" in svg


def test_bands_are_inside():
    svg = line_chart("t", [Line("a", 1, [1, 2], [0.5, 0.6], [0.1, 0.2], [0.8, 1.3])], **LABELS)
    points = re.search('polygon class="band s1" points="([^"]+)"', svg)[1]
    heights = [float(pair.split(",")[1]) for pair in points.split()]
    assert min(heights) >= 0 and max(heights) <= HEIGHT


@pytest.mark.parametrize("y", [[None], [math.nan], []])
def test_nothing_to_draw(y):
    assert "Nothing was recorded" in line_chart("t", [Line("a", 0, [1] * len(y), y)], **LABELS)
    assert "Nothing was recorded" in bar_chart("t", ["g"], [("a", 0, [None])], y_label="y")


def test_bars_by_hand():
    svg = bar_chart(
        "t", ["cold", "hot"], [("a", 0, [1.0, 0.5]), ("b", 1, [None, 0.0])], y_label="y"
    )
    assert numbers(svg, r'<rect[^>]* height="([\d.]+)"') == [184.0, 92.0, 0.0]
    ElementTree.fromstring(svg)


@given(
    st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=20),
    st.booleans(),
)
def test_all_points_are_inside(values, from_zero):
    line = Line("a", 0, range(len(values)), values)
    svg = line_chart("t", [line], from_zero=from_zero, **LABELS)
    xs, ys = numbers(svg, r'cx="([-\d.]+)"'), numbers(svg, r'cy="([-\d.]+)"')
    assert all(0 <= x <= WIDTH for x in xs)
    assert all(-1 <= y <= HEIGHT for y in ys)


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
def test_ticks_enclose_and_are_few(low, span):
    ticks = nice_ticks(low, low + span)
    slack = 1e-6 * max(1, abs(low), span)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 12
    assert ticks == sorted(set(ticks))

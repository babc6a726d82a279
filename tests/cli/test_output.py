import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kerasrec.cli.output import Report, plain


def test_numbers_paths_and_what_json_lacks():
    document = {
        "scores": np.array([1.5, np.nan, -np.inf]),
        "count": np.int64(3),
        "path": Path("served/1"),
        4: {"deep": ((True, None),)},
    }
    assert plain(document) == {
        "scores": [1.5, None, None],
        "count": 3,
        "path": "served/1",
        "4": {"deep": [[True, None]]},
    }


def test_other_types_are_refused_by_name():
    with pytest.raises(TypeError, match="set is not a JSON type"):
        Report({"users": {1}}, "").json()


def test_a_report_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Report({}, "").code = 1

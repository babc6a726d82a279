"""Usual column names are found, and two of them are a question."""

import pytest

from kerasrec.data.tables.aliases import ALIASES, ROLES, find_roles, nearest


def test_no_name_stands_for_two_roles():
    names = [name for some in ALIASES.values() for name in some.split()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["userId", "movieId", "rating"], ["userId", "movieId", "rating", "timestamp"]),
        (["reviewerID", "asin", "overall", "unixReviewTime", "reviewTime"],
         ["reviewerID", "asin", "overall", "unixReviewTime"]),
        (["User-ID", "ISBN", "Book-Rating", "ts"], ["User-ID", "ISBN", "Book-Rating", "ts"]),
        (["visitorid", "itemid", "event", "Date"], ["visitorid", "itemid", "rating", "Date"]),
        (["user_id", "user", "item", "item_id"], ["user_id", "item_id", "rating", "timestamp"]),
        (["title", " user id"], [" user id", "item_id", "rating", "timestamp"]),
    ],
)  # fmt: skip
def test_usual_names(names, expected):
    assert list(find_roles(names, ROLES).values()) == expected


def test_named_columns_are_meant():
    roles = {**ROLES, "user": "uid", "label": None}
    assert find_roles(["userId", "movieId"], roles)["user"] == "uid"
    assert find_roles(["userId", "stars"], roles)["label"] is None
    assert find_roles(["a", "date", "ts"], {"time": "timestamp"}, context=["date"]) == {
        "time": "ts"
    }
    with pytest.raises(
        ValueError, match="'timestamp' \\(time\\); there are \\['date', 'ts'\\].*time="
    ):
        find_roles(["a", "date", "ts"], {"time": "timestamp"})


def test_nearest():
    assert nearest("userid", ["user_id", "item_id"]) == " Did you mean 'user_id'?"
    assert nearest("price", ["user_id"]) == ""

"""Common column names of each role, and suggestions for misspelled ones."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

ROLES = {"user": "user_id", "item": "item_id", "label": "rating", "time": "timestamp"}

# Names found in public data sets, without case, underscores and blanks.
ALIASES = {
    "user": (
        "user userid uid uuid useridx userno customer customerid reviewerid reviewer visitorid "
        "memberid accountid profileid msno authorid playerid clientid"
    ),
    "item": (
        "item itemid iid movie movieid film filmid product productid book bookid asin isbn track "
        "trackid song songid videoid newsid articleid recipeid businessid animeid gameid "
        "gmapid poiid venueid adid sku"
    ),
    "label": (
        "rating ratings score stars star label overall click clicked isclick userrating "
        "ratingscore bookrating starrating reviewrating"
    ),
    "time": (
        "timestamp timestamps ts time date datetime unixtime unixtimestamp unixreviewtime "
        "timestampsec createdat eventtime ratedat watchedat"
    ),
}


def plain(name: str) -> str:
    """Return a name without case, blanks and punctuation.

    >>> plain("User-ID"), plain("userId"), plain(" user_id ")
    ('userid', 'userid', 'userid')
    """
    return re.sub(r"[\W_]+", "", name).lower()


def find_roles(
    names: Sequence[str], roles: Mapping[str, str | None], context: Sequence[str] = ()
) -> dict[str, str | None]:
    """Return the column of each role, found by common names if the default is missing.

    A name that is not the default of `read` is taken literally. Columns of the context are taken.

    Example:

    >>> find_roles(["userId", "movieId", "stars"], {"user": "user_id", "item": "item_id"})
    {'user': 'userId', 'item': 'movieId'}
    """
    found = dict(roles)
    taken = {*context, *(name for name in roles.values() if name in names)}
    for role, name in roles.items():
        if name != ROLES.get(role) or name in names:
            continue
        usual = ALIASES[role].split()
        some = [column for column in names if column not in taken and plain(column) in usual]
        if len(some) > 1:
            raise ValueError(
                f"expected one column {name!r} ({role}); there are {some}. Pass {role}= with one "
                "of them."
            )
        if some:
            found[role] = some[0]
    return found


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a "Did you mean ...?" question with the closest name, or an empty text.

    >>> nearest("useer_id", ["user_id", "item_id"])
    " Did you mean 'user_id'?"
    """
    by_plain = {plain(other): other for other in names}
    some = difflib.get_close_matches(plain(name), by_plain, 1)
    return f" Did you mean {by_plain[some[0]]!r}?" if some else ""

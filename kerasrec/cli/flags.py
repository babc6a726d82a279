"""Conversion of typed flags, and of library messages to the terms of the command line."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from shlex import quote
from typing import Any

_DEDUPLICATE = re.compile(r", or then apply kerasrec\.data\.deduplicate\(.*?\) or 'mean'")

_MARKS = ("--separator", "--quote")


def with_lists(arguments: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """Return the arguments with lists in brackets, so that `5,10` means `[5,10]`.

    Example:

    >>> with_lists(["--k", "5,10", "--context=hour"],
    ...     {"k": "int | Sequence[int]", "context": "Sequence[str]"})
    ['--k', '[5,10]', '--context=["hour"]']
    """
    found: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        before = found[-1] if found and found[-1].startswith("--") else ""
        if equals and name.startswith("--"):
            found.append(f"{name}={_bracketed(value, flags.get(name[2:], ''))}")
        else:
            found.append(_bracketed(argument, flags.get(before[2:], "")))
    return found


def with_marks(arguments: Sequence[str]) -> list[str]:
    """Escape `#` and `~` in the arguments, which YAML would read as comment and null.

    >>> with_marks(["--separator", "#"])
    ['--separator', '\\\\x23']
    """
    marks = {"#": r"\x23", "~": r"\x7e"}
    found: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in _MARKS:
            found.append(f"{name}={marks.get(value, value)}")
        else:
            last = found[-1] if found else ""
            found.append(marks.get(argument, argument) if last in _MARKS else argument)
    return found


def as_flags(values: Mapping[str, Any]) -> str:
    r"""Return settings as flags that a shell reads.

    Example:

    >>> as_flags({"data": "my clicks.csv", "user": None, "features": ["age", "city"], "seed": 1})
    "--data 'my clicks.csv' --user null --features age,city --seed 1"
    >>> as_flags({"features": {"age": "buckets"}})
    '--features \'{"age": "buckets"}\''
    """
    found = []
    for name, value in values.items():
        text = "null" if value is None else str(value)
        if isinstance(value, Mapping):
            text = json.dumps(dict(value), ensure_ascii=False)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            plain = all(isinstance(one, str) and re.fullmatch(r"[\w.=/ -]+", one) for one in value)
            text = ",".join(value) if plain else json.dumps(list(value), ensure_ascii=False)
        found.append(f"--{name} {quote(text)}")
    return " ".join(found)


def _bracketed(value: str, annotation: str) -> str:
    if "Sequence" not in annotation or value.startswith(("[", "{", "--")):
        return value
    if value in ("null", "auto"):
        return value
    parts = [part.strip() for part in value.split(",")]
    if len(parts) == 1 and re.match(r"(int|float|str) \|", annotation):
        return value
    text = "Sequence[str]" in annotation
    return f"[{','.join(json.dumps(part, ensure_ascii=False) if text else part for part in parts)}]"


def in_flags(message: str, names: Iterable[str]) -> str:
    """Replace Python arguments in a message of the library by flags.

    Example:

    >>> in_flags("Pass label=None, or user= with a name.", ["label", "user"])
    'Pass --label null, or --user with a name.'
    """
    message = _DEDUPLICATE.sub(", or --duplicates last or mean to keep one row of each", message)
    message = re.sub(r"\b(read|Interactions|load): ", "", message)
    for name in names:
        start = rf"(?<![\w.\-(]){name}="
        message = re.sub(rf"{start}None\b", f"--{name} null", message)
        message = re.sub(rf"{start}'([^'\s]+)'", partial(_pasted, name), message)
        message = re.sub(rf"{start}(?=['\"])", f"--{name} ", message)
        message = re.sub(rf"{start}(\d[\w.]*)", rf"--{name} \1", message)
        message = re.sub(rf"{start}(?=[\s.,;:]|$)", f"--{name}", message)
    return message


def _pasted(name: str, found: re.Match[str]) -> str:
    """Return a flag and its value, quoted for a shell."""
    return f"--{name} {quote(found[1])}"


def suggestion(message: str, names: Iterable[str]) -> str:
    """Return a "Did you mean ...?" question with the closest flag or name.

    Example:

    >>> suggestion("unrecognized arguments: --epoch 3", ["epochs", "loss"])
    ' Did you mean --epochs?'
    >>> suggestion("invalid choice: 'evaluat' (choose from 'audit', 'evaluate')", [])
    " Did you mean 'evaluate'?"
    >>> suggestion("does not accept option 'epoch'", ["epochs", "loss"])
    " Did you mean 'epochs'?"
    """
    from kerasrec.data.tables.aliases import nearest  # imports Arrow, which help texts do not need

    if found := re.search(r"unrecognized arguments: --([\w-]+)", message):
        return re.sub(r"'(\w+)'", r"--\1", nearest(found[1], names))
    if found := re.search(r"does not accept option '([\w.-]+)'", message):  # in a YAML file
        return nearest(found[1], names)
    if found := re.search(r"invalid choice: '([^']+)' \(choose from (.*?)\)", message):
        return nearest(found[1], re.findall(r"'([^']+)'", found[2]) or found[2].split(", "))
    return ""

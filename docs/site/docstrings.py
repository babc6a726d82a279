"""Docstrings as the site's Markdown wants them: examples fenced, sections of their own bold."""

import re
from typing import Any

import griffe

# Sections that griffe does not know: it would show them as boxes.
_OWN = re.compile(r"^(Example|Input shape|Output shape|Call args):[ ]*$", re.M)
_PROMPT = ">>> "


def rewritten(text: str) -> str:
    """The docstring with doctests in fences and our own sections as bold lines.

    >>> rewritten("Example:\\n\\n>>> 1 + 1\\n2").splitlines()
    ['**Example**', '', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    lines: list[str] = []
    fenced = own = False
    for line in text.splitlines():
        if fenced and not line.strip():
            lines.append("```")
            fenced = False
        if not fenced and line.startswith(_PROMPT):
            lines.append("```pycon")
            fenced = True
        if match := _OWN.match(line):
            lines += [f"**{match[1]}**", ""]
            own = match[1] != "Example"
            continue
        if own and line.strip() and not line.startswith(" "):
            own = False
        # The text under an own section is a paragraph, not a block of code.
        lines.append(line.removeprefix("    ") if own else line)
    if fenced:
        lines.append("```")
    return "\n".join(lines)


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)

"""Read what a task wrote to ``$BARBOSSA_OUTPUT``: ``name=value`` lines, and ``name<<END`` … ``END`` blocks."""

from __future__ import annotations

import re
from typing import Final

from barbossad.process.launcher import OUTPUT_LIMIT
from barbossad.validation import shown

_LINE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_-]{0,62})(?P<sign>=|<<)(?P<rest>.*)", flags=re.DOTALL)
_SAYS_HOW: Final = "write name=value, or name<<END, lines, END"


class OutputsError(ValueError):
    """What a task wrote cannot be read as outputs; the sentence names the line."""


def parse(written: bytes) -> dict[str, str]:
    """Return the outputs by name; a name that is written again has its last value. Raise OutputsError.

    Bytes that are not UTF-8 are kept as escapes. Only newlines end lines.
    """
    if len(written) > OUTPUT_LIMIT:
        raise OutputsError(f"they are larger than {OUTPUT_LIMIT} bytes; put large data into a file and output its path")
    lines = written.decode(errors="backslashreplace").split("\n")
    if lines[-1] == "":
        lines.pop()
    outputs: dict[str, str] = {}
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise OutputsError(f"line {number} is no output: {shown(line)}; {_SAYS_HOW}")
        value = match["rest"]
        if match["sign"] == "<<":
            if not value:
                raise OutputsError(f"line {number} names no word that ends {match['name']!r}; {_SAYS_HOW}")
            block: list[str] = []
            for _, inner in numbered:
                if inner == value:
                    break
                block.append(inner)
            else:
                raise OutputsError(f"the block of {match['name']!r} from line {number} on has no {value!r} at its end")
            value = "\n".join(block)
        outputs[match["name"]] = value
    return outputs

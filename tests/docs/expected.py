"""Whether a program printed what a page shows: the same lines in the same order, but for ids, addresses and measured numbers."""

from __future__ import annotations

import re

_ID = r"[a-z2-7]"
# What differs from run to run, as it stands in a page, and what may stand in its place.
_VARIABLE = [
    (r"/home/you/", r"/(?:\S+/)?"),
    (rf"\b{_ID}{{52}}\b", rf"{_ID}{{52}}"),
    (r"\b[0-9a-f]{32,64}\b", r"[0-9a-f]{32,64}"),
    (
        rf"\b(?=[a-z2-7]*[2-7])(?=[a-z2-7]*[a-z]){_ID}{{8}}\b",
        rf"{_ID}{{8}}",
    ),  # the beginning of an id; has a digit in pages
    (r"\b\d+\.\d+\.\d+\.\d+:\d+\b", r"(?:[\w.:\[\]-]+):\d+"),
    (r"\b\d\d\d\d-\d\d-\d\d\b", r"\d\d\d\d-\d\d-\d\d"),
    (r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", r"\d\d:\d\d:\d\d(?:[.,]\d+)?"),
    (r"\b(node-|port |pid )\d+\b", r"(?:node-|port |pid )\d+"),
    (r"\bterm \d+\b", r"term \d+"),
    (r"\b\d of (?=\d vote)", r"\d of "),
    (r"\b(?:leader|follower) \d+\b", r"(?:leader|follower|candidate) \d+"),
    (r"\b\d+/\d+\b", r"\d+/\d+"),
    (r"\b\d{1,3}(?:,\d{3})+\b", r"[\d,]+"),
    (r"\b\d+\.\d+\b", r"\d+(?:\.\d+)?"),
    (
        r"\b\d+(?= ?(?:ms|µs|s|%|KiB|MiB|KB|MB|bytes|per second|a second|commits/s|/s|virtual seconds|committed)\b)",
        r"\d+(?:\.\d+)?",
    ),
    (r"\b\d{4,}\b", r"\d+"),
    (r"[▁▂▃▄▅▆▇█]+", r"[▁▂▃▄▅▆▇█]+"),
    (r"[━─╸╺]+", r"[━─╸╺]*"),
    (r"…|\.\.\.", r".*"),
    (r"[ \t]+", r"\s+"),
]
_TOKEN = re.compile("|".join(f"(?P<v{number}>{pattern})" for number, (pattern, _) in enumerate(_VARIABLE)))


def pattern_of(line: str) -> re.Pattern[str]:
    """What a printed line must match entirely, to be what the page's line shows."""
    parts: list[str] = []
    end = 0
    for token in _TOKEN.finditer(line):
        parts.append(re.escape(line[end : token.start()]))
        number = next(name for name, value in token.groupdict().items() if value is not None)
        parts.append(_VARIABLE[int(number[1:])][1])
        end = token.end()
    parts.append(re.escape(line[end:]))
    return re.compile(r"\s*" + "".join(parts) + r"\s*")


def missing(shown: list[str], printed: str) -> str | None:
    """The first line that a page shows and the program did not print, in order; None if all were."""
    left = iter(printed.splitlines())
    for line in shown:
        if line.strip() in ("", "…", "..."):
            continue
        pattern = pattern_of(line.strip())
        if not any(pattern.fullmatch(candidate) for candidate in left):
            return line
    return None

"""Text from outside (rows, servers, names) made safe for where it is printed: a terminal, Markdown, TeX, JSON.

HTML escapes itself (jinja's autoescape, `report.page`), plots draw names without parsing mathtext
(`report.plots.STYLE`). Writers for people call these where text leaves, not where it comes in.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Format characters that reorder or hide text: Unicode's bidi controls (UAX 9; "Trojan Source", CVE-2021-42574),
# tags, the byte order mark, interlinear annotations. Joiners and Arabic number signs are part of words and stay.
_UNSEEN = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
# C0 but tab and newline, DEL and C1 (terminals obey these), line and paragraph separators, halves of a surrogate
# pair (no encoding can write them) and XML's two forbidden characters.
_UNPRINTABLE = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff{_UNSEEN}]")
_INLINE = re.compile(r"[\\`*_\[\]|$~]")
_BLOCK = re.compile(r"^(?:(?=#{1,6}(?:\s|$)|[-+](?:\s|$)|>|[-=]+$)|(\d{1,9})(?=[.)](?:\s|$)))")

_IN_TEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "--": "-{}-",
}
_TEX = re.compile("|".join(map(re.escape, sorted(_IN_TEX, key=len, reverse=True))))


def visible(text: str) -> str:
    r"""`text` with every character that steers a terminal, reorders or cannot be written spelled out, as `\x1b`."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def one_line(text: str) -> str:
    """`visible`, on one line: one message is one line."""
    return visible(re.sub(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*", " ", text.strip()))


def markdown(text: str) -> str:
    """`text` as Markdown that shows just that: no emphasis, link, image, code, HTML, TeX, table cell or list item."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    plain = _INLINE.sub(lambda match: "\\" + match[0], plain)
    return _BLOCK.sub(lambda match: f"{match[1] or ''}\\", plain)


def markdown_code(text: str) -> str:
    """`text` as inline code: fenced by more backticks than it holds (CommonMark 6.1)."""
    plain = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if "`" in plain else f"{fence}{plain}{fence}"


def tex(text: str) -> str:
    """`text` as TeX that prints just that: no command, group, parameter, comment, alignment, script or ligature."""
    return _TEX.sub(lambda found: _IN_TEX[found[0]], one_line(text))


def json_text(value: Any, **options: Any) -> str:
    """`value` as JSON that a terminal may show: the same value, unprintable characters as escapes."""
    return _UNPRINTABLE.sub(_json_escape, json.dumps(value, ensure_ascii=False, **options))


def _json_escape(match: re.Match[str]) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(match[0].encode("utf-16-le", "surrogatepass")).cast("H"))

"""A report as blocks, and the two ways to print it: one self-contained HTML page, and Markdown.

The page loads nothing: styles and figures are inlined, it follows the reader's light or dark setting, prints on
paper and fits a narrow screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cotdistill.escaping import markdown, visible

GENERATOR = b'<meta name="generator" content="cotdistill">'  # in the template's head
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind = "text"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]
    kind = "bullets"


@dataclass(frozen=True)
class Value:
    """One entry of a table. `source`: where the number comes from, shown on hovering; `link`: an anchor on the page;
    `anchor`: a name that others link to."""

    text: str
    source: str | None = None
    link: str | None = None
    anchor: str | None = None


@dataclass(frozen=True)
class Table:
    """Columns of text first, numbers (right-aligned) after `words` of them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    words: int = 1
    kind = "table"


@dataclass(frozen=True)
class Figure:
    """`name`: the file's stem under figures/. `svg`: drawn in the page's own colour. `says`: the caption."""

    name: str
    svg: str
    says: str
    kind = "figure"

    @property
    def drawing(self) -> Markup:
        """The SVG element, as our own plotting code wrote it."""
        return Markup(self.svg[self.svg.index("<svg") :])


@dataclass(frozen=True)
class Browser:
    """An interactive block: markup with its own script, on the HTML page only."""

    markup: Markup
    kind = "browser"


Block = Text | Bullets | Table | Figure | Browser


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    title: str
    blocks: Sequence[Block] = field(default=())
    folded: bool = False  # a reader who wants it opens it

    @property
    def anchor(self) -> str:
        """The heading as a link target."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class First:
    """What a page answers on its first screen. `verdicts`: a sentence each. `cannot`: what the numbers do not show.

    `asked`: which questions the verdicts are about, where others were asked too.
    """

    verdicts: Sequence[str]
    cannot: Sequence[str]
    figure: Figure | None = None
    asked: str = ""


@dataclass(frozen=True)
class Report:
    """`lead`: the question. `made`: when and with which versions, the only line in which two reports on the same
    results may differ."""

    title: str
    lead: str
    sections: Sequence[Section]
    made: str
    first: First | None = None


def may_replace(path: Path) -> bool:
    """Whether a file is a page of ours, empty, or not a regular file: nothing is lost when it is written."""
    if not path.is_file() or path.stat().st_size == 0:
        return True
    with path.open("rb") as page:
        return GENERATOR in page.read(1000)


def to_html(report: Report) -> str:
    """One self-contained page."""
    return environment(html=True).get_template("page.html.j2").render(report=report)


def to_markdown(report: Report) -> str:
    """The same, for a repository or a terminal; figures are linked as files beside it."""
    return environment(html=False).get_template("page.md.j2").render(report=report)


def environment(html: bool) -> Environment:
    """The package's templates. Every value they print is escaped: for HTML, or for Markdown."""

    def printed(value: Any) -> Any:
        if not isinstance(value, str) or isinstance(value, Markup):
            return value
        return visible(value) if html else markdown(value)

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=html,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

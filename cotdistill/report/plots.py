"""The figures of an ablation: the same drawing as SVG for the page and as SVG, PDF and PNG files.

Each drawing function takes plain numbers and returns a matplotlib figure; nothing is computed here. The same
numbers give the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from cotdistill.data.files import write_bytes, write_text
from cotdistill.escaping import one_line

INK = "#010203"  # becomes the page's own text colour, light or dark
# Okabe & Ito (2008), distinguishable by all readers, and light enough for a dark page.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
PDF_DATED = ("CreationDate", "Creator", "Producer")  # what would make equal drawings differ
MARKS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cotdistill",
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a name with a dollar sign is a name
    "savefig.bbox": "tight",  # a constrained layout is solved a little differently in every process
}


@dataclass(frozen=True)
class Point:
    """A named estimate with its interval, in shares; x where the figure has a measured horizontal axis."""

    name: str
    value: float
    low: float
    high: float
    x: float = 0.0
    x_low: float | None = None
    x_high: float | None = None
    floor: float | None = None


def drawn(make: Callable[..., Drawing]) -> Callable[..., Drawing]:
    """The drawing of a function in the page's style, with names that fonts and files can hold."""

    @wraps(make)
    def draw(*numbers: Any, **more: Any) -> Drawing:
        with rc_context(STYLE):
            return make(*map(_named, numbers), **{name: _named(content) for name, content in more.items()})

    return draw


def _named(value: Any) -> Any:
    if isinstance(value, str):
        name = one_line(value)
        return f" {name}" if name.startswith("_") else name  # matplotlib leaves names in "_" out of a legend
    if isinstance(value, Point):
        return replace(value, name=_named(value.name))
    if isinstance(value, Mapping):
        return {_named(name): _named(content) for name, content in value.items()}
    return [_named(content) for content in value] if isinstance(value, Sequence) else value


@drawn
def forest(by_set: Mapping[str, Sequence[Point]], baseline: str, over: str) -> Drawing:
    """Differences to the baseline in points, one row per arm, one mark per set; `over`: what the intervals are over."""
    names = list(dict.fromkeys(point.name for points in by_set.values() for point in points))
    figure, axes = _axes(7.2, 0.9 + 0.42 * len(names))
    step = 0.7 / max(1, len(by_set))
    for at, (name, points) in enumerate(by_set.items()):
        ys = [names.index(point.name) + (at - (len(by_set) - 1) / 2) * step for point in points]
        axes.errorbar(
            [100 * p.value for p in points],
            ys,
            xerr=_errors(points),
            fmt=MARKS[at % len(MARKS)],
            color=COLOURS[at % len(COLOURS)],
            markersize=4,
            linewidth=1.2,
            label=name,
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"accuracy minus {baseline}, points (95 % interval over {over})")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.0 + 0.9 / (0.9 + 0.42 * len(names))), ncols=4)
    return figure


@drawn
def paired(shares: Mapping[str, Sequence[float]]) -> Drawing:
    """{comparison: shares of items on which it is better, equal, worse} as one bar each."""
    figure, axes = _axes(7.2, 1.0 + 0.36 * len(shares))
    left = [0.0] * len(shares)
    for name, colour, part in zip(
        ("better", "equal", "worse"), (COLOURS[2], COLOURS[-1], COLOURS[1]), range(3), strict=True
    ):
        widths = [100 * share[part] for share in shares.values()]
        alpha = 0.35 if name == "equal" else 0.85
        axes.barh(range(len(shares)), widths, 0.7, left, color=colour, alpha=alpha, label=name)
        left = [at + width for at, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(shares)), list(shares))
    axes.invert_yaxis()
    axes.set(xlabel="% of items", xlim=(0, 100))
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.0 + 0.7 / (1.0 + 0.36 * len(shares))), ncols=3)
    return figure


@drawn
def scatter(points: Sequence[Point], across: str, up: str) -> Drawing:
    """Accuracy over accuracy, with a line where both are equal."""
    figure, axes = _axes(6.4, 5.4)
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.6, linestyle=":")
    _marks(axes, points, percent_x=True)
    axes.set(xlabel=f"{across}, accuracy %", ylabel=f"{up}, accuracy %", xlim=(0, 100), ylim=(0, 100))
    return figure


@drawn
def cost(points: Sequence[Point], up: str) -> Drawing:
    """Accuracy over the tokens that go through the student for one question."""
    figure, axes = _axes(6.8, 4.6)
    _marks(axes, points, percent_x=False)
    axes.set(
        xlabel="tokens through the student for one question (prompts included)",
        ylabel=f"{up}, accuracy %",
        ylim=(0, 100),
    )
    axes.set_xlim(left=0)
    return figure


@drawn
def curves(lines: Mapping[str, Sequence[Point]], across: str, up: str, levels: Mapping[str, float]) -> Drawing:
    """One line per kind over the varied quantity; `levels` are horizontal lines to compare with, in the colour of the
    line of the same name."""
    figure, axes = _axes(6.6, 4.2)
    for at, (name, points) in enumerate(lines.items()):
        ordered = sorted(points, key=lambda point: point.x)
        axes.errorbar(
            [p.x for p in ordered],
            [100 * p.value for p in ordered],
            yerr=_errors(ordered),
            color=COLOURS[at % len(COLOURS)],
            marker=MARKS[at % len(MARKS)],
            markersize=4.5,
            linewidth=1.3,
            capsize=2,
            label=name,
        )
    colours = dict(zip((name for name in levels if name not in lines), COLOURS[::-1] * len(levels), strict=False))
    own = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(lines)}
    for name, value in levels.items():
        colour, label = (own[name], None) if name in own else (colours[name], name)
        axes.axhline(100 * value, color=colour, linewidth=1, linestyle="--", label=label)
    axes.set(xlabel=across, ylabel=f"{up}, accuracy %")
    last = {name: max(points, key=lambda point: point.x).value for name, points in lines.items()}
    _legend(axes, {**levels, **last}, loc="best", fontsize=8)
    return figure


@drawn
def bars(by_measure: Mapping[str, Sequence[Point]]) -> Drawing:
    """Faithfulness measures: one bar per arm with its interval, and its floor as a line across it."""
    names = list(dict.fromkeys(point.name for points in by_measure.values() for point in points))
    figure, axes = _axes(7.2, 1.1 + 0.32 * len(names) * len(by_measure))
    ticks, labels, at = [], [], 0.0
    for number, (measure, points) in enumerate(by_measure.items()):
        for point in points:
            axes.barh(
                at,
                100 * point.value,
                height=0.7,
                color=COLOURS[number % len(COLOURS)],
                alpha=0.75,
                label=measure if point is points[0] else None,
            )
            axes.plot([100 * point.low, 100 * point.high], [at, at], color=INK, linewidth=1.2)
            if point.floor is not None:
                axes.plot([100 * point.floor] * 2, [at - 0.42, at + 0.42], color=INK, linewidth=2.2)
            ticks.append(at)
            labels.append(point.name)
            at += 0.85
        at += 0.6
    axes.set_yticks(ticks, labels)
    axes.invert_yaxis()
    axes.set(xlabel="% of questions; thick line: the floor of a student without the property", xlim=(0, 100))
    axes.legend(loc="lower right", fontsize=8)
    return figure


@rc_context(STYLE)
def save(drawing: Drawing, folder: Path, name: str) -> str:
    """Write NAME.svg, NAME.pdf and NAME.png; the SVG as the page holds it."""
    svg = _svg(drawing)
    write_text(folder / f"{name}.svg", svg)
    write_bytes(folder / f"{name}.pdf", _bytes(drawing, "pdf", metadata=dict.fromkeys(PDF_DATED)))
    picture = _bytes(drawing, "png", dpi=160, facecolor="white", metadata={"Software": None})
    write_bytes(folder / f"{name}.png", picture)
    return svg.replace(INK, "currentColor")


def _bytes(drawing: Drawing, kind: str, **options: Any) -> bytes:
    image = io.BytesIO()
    with _any_glyph():
        drawing.savefig(image, format=kind, **options)
    return image.getvalue()


@rc_context(STYLE)
def inline(drawing: Drawing) -> str:
    """The SVG as a page holds it, its ink being the page's text colour."""
    return _svg(drawing).replace(INK, "currentColor")


def _svg(drawing: Drawing) -> str:
    text = io.StringIO()
    with _any_glyph():
        drawing.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()


@contextmanager
def _any_glyph() -> Iterator[None]:
    """A name in a script that DejaVu lacks is a box in the PNG (the SVG keeps its text), not one warning per letter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _axes(width: float, height: float) -> tuple[Drawing, Axes]:
    figure = Drawing(figsize=(width, height))
    axes = figure.add_subplot()
    axes.grid(True, color="#8c8c8c", alpha=0.25, linewidth=0.6)
    return figure, axes


def _marks(axes: Axes, points: Sequence[Point], percent_x: bool) -> None:
    scale = 100 if percent_x else 1
    for at, point in enumerate(points):
        sideways = None
        if point.x_low is not None and point.x_high is not None:
            sideways = [[scale * (point.x - point.x_low)], [scale * (point.x_high - point.x)]]
        axes.errorbar(
            scale * point.x,
            100 * point.value,
            xerr=sideways,
            yerr=_errors([point]),
            fmt=MARKS[at // len(COLOURS) % len(MARKS)],
            color=COLOURS[at % len(COLOURS)],
            markersize=5.5,
            linewidth=0.9,
            label=point.name,
        )
    heights = {point.name: point.value for point in points}
    _legend(axes, heights, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)


def _legend(axes: Axes, heights: Mapping[str, float], **how: Any) -> None:
    """A legend in the order of what it names, from the highest down."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda at: -heights[labels[at]])
    axes.legend([handles[at] for at in order], [labels[at] for at in order], **how)


def _errors(points: Sequence[Point]) -> list[list[float]]:
    # An interval may miss its estimate by a rounding error; an error bar must not be negative.
    return [[max(0.0, 100 * (p.value - p.low)) for p in points], [max(0.0, 100 * (p.high - p.value)) for p in points]]

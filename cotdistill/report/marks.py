"""A drawing of probes: a row per probe, a mark per run with its interval, and the floor without the property."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure as Drawing

from cotdistill.report.plots import COLOURS, INK, MARKS, Point, drawn


@drawn
def probes_figure(by_run: Mapping[str, Sequence[Point]]) -> Drawing:
    """{run: its points, named by probe} in shares, drawn in percent."""
    names = list(dict.fromkeys(point.name for points in by_run.values() for point in points))
    figure = Drawing(figsize=(7.4, 1.0 + 0.5 * len(names)))
    axes = figure.add_subplot()
    axes.grid(True, axis="x", color="#8c8c8c", alpha=0.25, linewidth=0.6)
    step = 0.7 / max(1, len(by_run))
    for at, (run, points) in enumerate(by_run.items()):
        ys = [names.index(point.name) + (at - (len(by_run) - 1) / 2) * step for point in points]
        errors = [
            [max(0.0, 100 * (p.value - p.low)) for p in points],
            [max(0.0, 100 * (p.high - p.value)) for p in points],
        ]
        axes.errorbar(
            [100 * p.value for p in points],
            ys,
            xerr=errors,
            fmt=MARKS[at % len(MARKS)],
            markersize=4.5,
            color=COLOURS[at % len(COLOURS)],
            linewidth=1.2,
            label=run,
        )
        for point, y in zip(points, ys, strict=True):
            if point.floor is not None:
                axes.plot([100 * point.floor] * 2, [y - step / 2, y + step / 2], color=INK, linewidth=1.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("% (95 % interval over questions)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    return figure

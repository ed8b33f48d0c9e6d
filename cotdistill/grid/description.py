"""What a report says about its grid besides the cells (`ablation.json`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cotdistill.data.records import digest
from cotdistill.data.runcard import package_versions
from cotdistill.grid import ways
from cotdistill.grid.attributions import read_header, scorings
from cotdistill.grid.axes import Swept, said
from cotdistill.grid.plan import Plan
from cotdistill.grid.rows import GridRows, mean_words, rows_file, usage
from cotdistill.report.description import Description
from cotdistill.strategies.grids import dose, size_matched

SHOWN = {"lr", "batch_size", "optimizer", "schedule", "warmup", "weight_decay", "clip", "lora", "dtype", "recipe"}
# No result depends on these.
HOW_NOT_WHAT = {
    "out",
    "jobs",
    "ray",
    "gpus_per_cell",
    "shard",
    "parallel",
    "explain",
    "device",
    "plugin",
    "keep_students",
    "measure",
    "track",
}


def describe_grid(
    plan: Plan,
    rows: GridRows,
    swept: Mapping[str, Mapping[str, float | None]],
    chosen: Mapping[str, Swept],
    steps: Mapping[str, int],
    overlap: Mapping[str, Mapping[str, Any]],
) -> Description:
    """The description of a finished grid. `overlap`: each question set's contamination by the training rows."""
    trained = {arm.label: plan.distilled(arm, 0, 1, chosen[arm.label]) for arm in plan.arms}
    files = {
        decoding: {
            "file": str(rows_file(plan.out, decoding).relative_to(plan.out)),
            "rows": len(items),
            "digest": digest(items),
            "words": mean_words(items),
        }
        for decoding, items in rows.by_decoding.items()
    }
    paths = [scoring.file(plan.out) for scoring in scorings(plan.arms)]
    return Description(
        title=f"Study {plan.study.name}: {plan.study.paper}" if plan.study else "Ablation",
        question=plan.study.question if plan.study else "Which way of distilling is better, by how much, how sure?",
        baseline=plan.base.label,
        in_domain=plan.sets[0].name,
        pairs=list(_pairs(plan)),
        claims=plan.study.claims if plan.study else (),
        config=plan.config.model_dump(mode="json", exclude=HOW_NOT_WHAT),
        rows={
            "files": files,
            "common": len(rows.common),
            "dev": _dev(plan, rows),
            "used": usage(rows, plan.arms),
            "overlap": overlap,
            "sets": {s.name: {"data": s.spec, "split": s.split} for s in plan.sets},
        },
        swept=swept,
        chosen={label: ", ".join(said(swept_to)) for label, swept_to in chosen.items() if swept_to},
        training={label: settings.model_dump(mode="json", include=SHOWN) for label, settings in trained.items()},
        defaults={arm.label: plan.training(arm)[1] for arm in plan.arms},
        steps=steps,
        scores={path.name: read_header(path) for path in paths if path.exists()},
        versions=package_versions(),
        curves={arm.label: curve for arm in plan.arms if not arm.control and (curve := dose(arm.variant))},
    )


def _pairs(plan: Plan) -> Iterator[tuple[str, str]]:
    """Arms that keep chosen words, or chosen rows, each with the arm that keeps as many random ones; mixtures, each
    with its sources alone."""
    variants, labels = [arm.variant for arm in plan.arms], {arm.label for arm in plan.arms}
    for arm in plan.arms:
        if matched := size_matched(arm.variant, variants):
            yield arm.label, replace(arm, variant=matched).label
        random = ways.size_matched(plan.config, arm.training)
        if random is not None and (other := replace(arm, training=random).label) in labels:
            yield arm.label, other
        if arm.mixture is not None:
            yield arm.mixture, arm.label


def _dev(plan: Plan, rows: GridRows) -> str:
    if not plan.config.sweep:
        return "none"
    return plan.config.dev or (f"{len(rows.held_out)} held-out rows" if rows.held_out else f"{plan.train}'s dev split")

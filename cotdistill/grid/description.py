"""What a report says of its grid beside the cells (`ablation.json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cotdistill.data.records import digest
from cotdistill.data.runcard import package_versions
from cotdistill.grid.attributions import read_header, scorings
from cotdistill.grid.axes import Swept, said
from cotdistill.grid.plan import Plan
from cotdistill.grid.rows import Rows, mean_words, rows_file, usage
from cotdistill.report.ablation import Description
from cotdistill.strategies.grids import dose, size_matched

SHOWN = {"lr", "batch_size", "optimizer", "schedule", "warmup", "weight_decay", "clip", "lora", "dtype", "recipe"}
# No result depends on these.
HOW_NOT_WHAT = {"out", "jobs", "ray", "gpus_per_cell", "shard", "parallel", "explain", "device", "plugin",
                "keep_students", "measure"}


def describe(plan: Plan, rows: Rows, swept: Mapping[str, Mapping[str, float | None]], chosen: Mapping[str, Swept],
             steps: Mapping[str, int], overlap: Mapping[str, Mapping[str, Any]]) -> Description:
    """The description of a grid that is done. `overlap`: of each question set with the training rows."""
    trained = {arm.label: plan.distilled(arm, 0, 1, chosen[arm.label]) for arm in plan.arms}
    variants = [arm.variant for arm in plan.arms]
    pairs = [(arm.label, replace(arm, variant=matched).label) for arm in plan.arms
             if (matched := size_matched(arm.variant, variants))]
    files = {decoding: {"file": str(rows_file(plan.out, decoding).relative_to(plan.out)), "rows": len(items),
                        "digest": digest(items), "words": mean_words(items)}
             for decoding, items in rows.by_decoding.items()}
    paths = [one.file(plan.out) for one in scorings(plan.arms)]
    return Description(
        title=f"Study {plan.study.name}: {plan.study.paper}" if plan.study else "Ablation",
        question=plan.study.question if plan.study else "Which way of distilling is better, by how much, how sure?",
        baseline=plan.base.label, in_domain=plan.sets[0].name, pairs=pairs,
        claims=plan.study.claims if plan.study else (),
        config=plan.config.model_dump(mode="json", exclude=HOW_NOT_WHAT),
        rows={"files": files, "common": len(rows.common), "dev": _dev(plan, rows), "used": usage(rows, plan.arms),
              "overlap": overlap, "sets": {one.name: {"data": one.spec, "split": one.split} for one in plan.sets}},
        swept=swept,
        chosen={label: ", ".join(said(one)) for label, one in chosen.items() if one},
        training={label: settings.model_dump(mode="json", include=SHOWN) for label, settings in trained.items()},
        defaults={arm.label: plan.training(arm)[1] for arm in plan.arms},
        steps=steps, scores={path.name: read_header(path) for path in paths if path.exists()},
        versions=package_versions(),
        curves={arm.label: found for arm in plan.arms if not arm.control and (found := dose(arm.variant))})


def _dev(plan: Plan, rows: Rows) -> str:
    if not plan.config.sweep:
        return "none"
    return plan.config.dev or (f"{len(rows.held_out)} held-out rows" if rows.held_out else f"{plan.train}'s dev split")

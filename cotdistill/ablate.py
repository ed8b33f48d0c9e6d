"""`cotdistill ablate`: a grid of strategies, parameters and seeds on the same rows, compared in one table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.config import DEMO, AblateConfig, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.console import say, warn
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import read_card
from cotdistill.distill import distill_items
from cotdistill.elicit import elicit
from cotdistill.errors import CotdistillError, NothingLeft, UsageError, did_you_mean
from cotdistill.evaluate import evaluate_set, load_sets
from cotdistill.strategies.grids import DEFAULT, Variant, variants
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create


@dataclass(frozen=True)
class Cell:
    """One training run of the grid."""

    variant: Variant
    seed: int


def ablate(config: AblateConfig, rows: str | None, dry_run: bool = False) -> Iterator[dict[str, Any]]:
    """Run every cell and yield its record as it is done; failed cells are yielded with their error."""
    chosen = grid(config)
    cells = [Cell(variant, seed) for variant in chosen for seed in config.seeds]
    say(f"{len(chosen)} variants x {len(config.seeds)} seeds = {len(cells)} cells: "
        + ", ".join(variant.label for variant in chosen))
    if dry_run:
        return
    out = config.out or Path("runs") / "ablation"
    source = rows if rows is not None else str(_elicited(config, chosen, out))
    items = common_items(read_items(source, config.limit), chosen)
    for cell in cells:
        try:
            yield from _run_cell(config, cell, items, source, out)
        except CotdistillError as error:
            warn(f"{cell.variant.label}, seed {cell.seed}: {error}")
            yield {"cell": cell.variant.label, "seed": cell.seed, "error": str(error)}


def grid(config: AblateConfig) -> list[Variant]:
    """The variants that the options spell; unknown parameters are refused."""
    names = config.strategies or (() if _ablations_named(config) else DEFAULT)
    known = {param for name in (*names, *DEFAULT) for param in create(name).params}
    for param in config.param:
        if param not in known:
            raise UsageError(f"--param {param}: no chosen strategy has it{did_you_mean(param, known)}")
    return variants(names, config.param, config.permute_level if config.permute_tokens else (), config.mask_tokens,
                    config.key_tokens)


def common_items(items: Sequence[Item], chosen: Sequence[Variant]) -> list[Item]:
    """The rows that every variant can use: all methods share their data."""
    common = list(items)
    for variant in chosen:
        strategy = create(variant.strategy, variant.params)
        usable = {sample.id for sample in join(common, strategy)[0]}
        common = [item for item in common if item.id in usable]
    if not common:
        raise NothingLeft("no row can be used by every strategy of the grid; see the yield table of elicit")
    if len(common) < len(items):
        say(f"{len(common)} of {len(items)} rows can be used by every strategy; all train on those")
    return common


def _ablations_named(config: AblateConfig) -> bool:
    return bool(config.permute_tokens or config.mask_tokens or config.key_tokens)


def _elicited(config: AblateConfig, chosen: Sequence[Variant], out: Path) -> Path:
    """The embedded teacher's rationales on the embedded world, made once and kept beside the runs."""
    path = out / "rationales.jsonl"
    if not path.exists():
        counterfactual = any(kind == "counterfactual" for variant in chosen
                             for kind, _ in create(variant.strategy, variant.params).needs())
        elicit(ElicitConfig(hint="gold", counterfactual=counterfactual, limit=config.limit, out=path,
                            device=config.device, data_seed=config.data_seed))
    return path


def _run_cell(config: AblateConfig, cell: Cell, items: list[Item], source: str, out: Path) -> Iterator[dict[str, Any]]:
    began = time.perf_counter()
    strategy = create(cell.variant.strategy, cell.variant.params)
    distilled = DistillConfig(
        strategy=strategy.name, param={k: str(v) for k, v in cell.variant.params.items()}, student=config.student[0],
        steps=config.steps, epochs=config.epochs, batch_size=config.batch_size, lr=config.lr, seed=cell.seed,
        data_seed=config.data_seed, device=config.device, dtype=config.dtype, plugin=config.plugin)
    made = distill_items(distilled, strategy, items, source, folder=out / "runs")
    assert made is not None
    run = Path(made["run"])
    trained = time.perf_counter() - began
    asked = EvaluateConfig(data=config.data, device=config.device, seed=cell.seed, data_seed=config.data_seed)
    card = read_card(run)
    for name, examples in load_sets(asked, card):
        began = time.perf_counter()
        record = evaluate_set(asked, run, card, name, examples)
        seconds = {"train": trained, "evaluate": time.perf_counter() - began}
        yield {"cell": cell.variant.label, **record, "learned_tokens": made["learned_tokens"],
               "input_tokens": made["input_tokens"], "steps": made["steps"], "seconds": seconds}

"""The sections of an ablation's report: claims, the table, figures, every comparison, budgets, cells, provenance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotdistill.data.files import JsonObject
from cotdistill.report.comparison import Results
from cotdistill.report.description import Description
from cotdistill.report.evaluation_page import contamination_table
from cotdistill.report.page import Block, Bullets, Figure, Section, Table, Text, Value
from cotdistill.report.probe_areas import probe_blocks
from cotdistill.report.tables import checked_values, mean, percent
from cotdistill.report.thought import thought_blocks
from cotdistill.statistics.comparison import shown_p

CHECKED = {"conflict": "conflict % (shift)", "follows_cue": "follows cue % (shift)", "steps_true": "steps true %"}
NO_ITEM_SPREAD = (
    " SE questions 0.0: the questions differ by no more than the runs' own noise on each of them makes them differ; "
    "that noise is in SE seeds."
)
NOT_RECOMPUTED = (
    "Measured times (timings.jsonl of each run, and the table on the terminal) and training losses "
    "(metrics.jsonl) are recorded, not recomputed; weights are checked by digest, not trained again."
)


def sections(
    results: Results,
    description: Description,
    comparisons: Sequence[JsonObject],
    claims: Sequence[JsonObject],
    figures: Sequence[Figure],
    records: Sequence[JsonObject],
) -> list[Section]:
    """In the order of a reader's questions."""
    asked = description.config["evaluate"].get("probe", ())
    listed = [Section("Claims", claim_blocks(claims))] if claims else []
    listed += [
        Section(
            "Results",
            [
                Text(setting(results, description)),
                arms_table(results),
                Text(
                    f"Accuracy in percent with its 95 % interval over {results.over}; hover over a number for its "
                    "cells, follow an arm to them. Arms marked control are floors, added to every grid: the same "
                    "training with something taken away."
                    if has_controls(results)
                    else f"Accuracy in percent with its 95 % interval over {results.over}. No controls were run "
                    "(--no-controls): a gain here may come from anything."
                ),
            ],
        ),
        Section("Against the baseline", comparison_blocks(comparisons, results.over)),
        *([Section("Figures", list(figures))] if figures else []),
        *([Section("Accuracy over a budget of thought", thought)] if (thought := thought_blocks(results)) else []),
        *([Section("Probes", probed)] if (probed := probe_blocks(results, asked)) else []),
        Section("Rows", row_blocks(description), folded=True),
        Section("Budget and cost", budget_blocks(results, description), folded=True),
        Section("Cells", cell_blocks(results, records), folded=True),
        Section("Provenance", provenance_blocks(description), folded=True),
    ]
    return listed


def setting(results: Results, description: Description) -> str:
    """What was held equal, in one paragraph."""
    config, rows = description.config, description.rows
    seeds = config["seeds"]
    among = "; ".join(f"{name} {', '.join(f'{one:g}' for one in values)}" for name, values in config["sweep"].items())
    rate = (
        f"Chosen for each arm ({among}) by accuracy on {rows['dev']}, never on the sets below"
        if among
        else f"{_rates(description)}; no arm was tuned"
    )
    own = config["rows_"] == "own"
    trained = (
        "Every arm trains on the rows that it can use itself (see Rows)"
        if own
        else f"{rows['common']} training rows for every arm"
    )
    return (
        f"{trained}, {len(seeds)} seeds ({', '.join(map(str, seeds))}), "
        f"{_batches(description)}. Equal for all: {BUDGETS[config['budget']]}. {rate}. In domain: "
        f"{description.in_domain}; out of domain: "
        f"{', '.join(name for name in results.sets if name != description.in_domain) or 'none'}."
    )


def _rates(description: Description) -> str:
    rates = {arm: made["lr"] for arm, made in description.training.items()}
    if len(set(rates.values())) == 1:
        return f"All arms use the learning rate {next(iter(rates.values())):g}"
    return "Learning rates: " + ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items())


def _batches(description: Description) -> str:
    sizes = sorted({made["batch_size"] for made in description.training.values()})
    return f"batches of {' or '.join(map(str, sizes))}"


BUDGETS = {
    "examples": "how often each question is shown (the section on budgets prints what differed)",
    "steps": "optimizer steps (the section on budgets prints what differed)",
    "learned-tokens": "target tokens learned (the section on budgets prints what differed)",
    "flops": "training FLOPs (the section on budgets prints what differed)",
}


def has_controls(results: Results) -> bool:
    """Whether the grid has controls."""
    return any(record["role"] == "control" for record in results.records)


def claim_blocks(claims: Sequence[JsonObject]) -> list[Block]:
    """The papers' claims, and whether these cells support them."""
    rows = []
    for claim in claims:
        cells = ", ".join([*claim.get("cells", ()), *claim.get("baseline_cells", ())]) or None
        measure = "" if claim.get("measure", "accuracy") == "accuracy" else f" ({claim['measure']})"
        rows.append(
            [
                Value(claim["claim"] + measure),
                Value(claim["verdict"], cells),
                Value(claim.get("sentence", "one of its arms, or its probe, is not in this grid"), cells),
            ]
        )
    return [
        Table(["claim", "here it", "because"], rows, words=3),
        Text(
            "Holds: a difference in the claimed direction at 5 % after Holm's correction over these claims, or, for a "
            "claim of equality, an interval that stays within 5 points (or above). Does not hold: a difference the "
            "other way, or an interval that excludes 5 points of gain. Undecided: the cells cannot tell."
        ),
    ]


def arms_table(results: Results) -> Table:
    """One row per arm."""
    figures = [one for record in results.records for one in record["sets"].values()]
    checked = [name for name in CHECKED if any(name in one for one in figures)]
    rows = []
    for at, arm in enumerate(results.arms):
        mine = results.of(arm)
        cells = ", ".join(record["cell"] for record in mine)
        row = [Value(arm, link=f"cell-{at}"), Value("" if mine[0]["role"] == "strategy" else mine[0]["role"])]
        for name in results.sets:
            outcomes = results.outcomes(arm, [name])
            row.append(Value("-" if outcomes is None else _estimate(outcomes.interval), f"{name}: {cells}"))
        row += [Value(percent(mean(checked_values(mine, name))), f"{name}: {cells}") for name in checked]
        tokens = [one["generated_per_question"] for record in mine for one in record["sets"].values()]
        rows.append([*row, Value(f"{mean(tokens):.1f}", cells)])
    columns = ["arm", "role", *results.sets, *(CHECKED[name] for name in checked), "tokens written"]
    return Table(columns, rows, words=2)


def comparison_blocks(comparisons: Sequence[JsonObject], over: str) -> list[Block]:
    """Each comparison as numbers and as a sentence."""
    if not comparisons:
        return [Text("No arm could be compared with the baseline.")]
    rows = []
    for comparison in comparisons:
        cells = ", ".join([*comparison["cells"], *comparison["baseline_cells"]])
        low, high = comparison["interval"]
        tests = " ".join(f"{m['only_name']}:{m['only_baseline']} (p {shown_p(m['p'])})" for m in comparison["mcnemar"])
        rows.append(
            [
                Value(comparison["name"]),
                Value(comparison["baseline"]),
                Value(comparison["sets"][0]),
                Value(f"{100 * comparison['difference']:+.1f}", cells),
                Value(f"{100 * low:+.1f} to {100 * high:+.1f}", cells),
                Value(shown_p(comparison["p_holm"]), cells),
                Value(percent(comparison["detectable"]), cells),
                Value(percent(comparison["seed_se"]), cells),
                Value(percent(comparison["item_se"]), cells),
                Value(tests, cells),
            ]
        )
    columns = [
        "arm",
        "against",
        "set",
        "difference",
        "95 % interval",
        "p (Holm)",
        "detectable",
        "SE seeds",
        "SE questions",
        "McNemar per seed: only arm right : only baseline right",
    ]
    return [
        Text(
            f"Paired on the same questions; intervals over {over}; p is Holm's over all "
            f"{comparisons[0]['family']} comparisons; detectable is the difference that would have been found with "
            "80 % power (-: none, however large). In points."
            + NO_ITEM_SPREAD
            * any(comparison["item_se"] == 0 for comparison in comparisons)
        ),
        Table(columns, rows, words=3),
        Bullets([f"{comparison['sets'][0]}: {comparison['sentence']}" for comparison in comparisons]),
    ]


def row_blocks(description: Description) -> list[Block]:
    """What each arm trains on, and why not on more; how much of the question sets is among it."""
    rows = [
        [
            Value(arm),
            Value(f"{used['rows']}"),
            Value(f"{used['can_use']}"),
            Value(f"{used['trains_on']}"),
            Value("; ".join(f"{why} ({count})" for why, count in used["why"].items()) or "none"),
        ]
        for arm, used in description.rows["used"].items()
    ]
    how = (
        "every arm has the rows that it can use itself (--rows own)"
        if description.config["rows_"] == "own"
        else "every arm has the rows that all arms can use (--rows own gives each its own)"
    )
    blocks: list[Block] = [
        Text(f"Here {how}; a smaller share of them, or a control, is drawn after that."),
        Table(["arm", "rows", "can use", "trains on", "left out"], rows, words=5),
    ]
    shared = [{"name": "all arms", "set": name, "overlap": one} for name, one in description.rows["overlap"].items()]
    return [*blocks, Text("Share of each question set that is also in the training rows:"), contamination_table(shared)]


def _written(results: Results) -> str:
    """What on-policy training adds to the cost of the arms that have some."""
    counts = {}
    for arm in results.arms:
        wrote = [record["sampled_tokens"] for record in results.of(arm) if "sampled_tokens" in record]
        if wrote:
            counts[arm] = wrote[0]
    if not counts:
        return ""
    return (
        " What a student wrote for its own training, and what a teacher read of it, counts with 2 FLOPs a parameter "
        "and token more; tokens written: " + ", ".join(f"{arm} {count:,}" for arm, count in counts.items()) + "."
    )


def budget_blocks(results: Results, description: Description) -> list[Block]:
    """What was equalised, and everything that was not."""
    rows = []
    for arm in results.arms:
        mine = [record for record in results.of(arm) if "steps" in record]
        if not mine:
            continue
        cells, first = ", ".join(record["cell"] for record in mine), mine[0]
        forwarded = mean([s["forwarded_per_question"] for record in mine for s in record["sets"].values()])
        rows.append(
            [
                Value(arm),
                Value(f"{first['lr']:g}", cells),
                Value(f"{first['rows']}", cells),
                Value(f"{first['rationale_words']:.1f}", cells),
                Value(f"{first['steps']}", cells),
                Value(f"{first['examples']:,}", cells),
                Value(f"{first['learned_tokens']:,}", cells),
                Value(f"{first['input_tokens']:,}", cells),
                Value(f"{first['train_flops']:.3g}", cells),
                Value(f"{forwarded or 0:.1f}", cells),
            ]
        )
    columns = [
        "arm",
        "learning rate",
        "rows",
        "words a rationale",
        "steps",
        "examples",
        "tokens learned",
        "tokens computed",
        "training FLOPs",
        "tokens per question at inference",
    ]
    blocks: list[Block] = [
        Text(
            f"Equalised: {description.config['budget']}. Training FLOPs are 6 x parameters x "
            "tokens computed (Kaplan et al. 2020), attention scores left out." + _written(results)
        ),
        Table(columns, rows),
    ]
    if description.swept:
        rates = list(dict.fromkeys(rate for found in description.swept.values() for rate in found))
        swept = [
            [
                Value(arm),
                *(Value(percent(found.get(rate)), f"{arm}: {rate}") for rate in rates),
                Value(description.chosen[arm]),
            ]
            for arm, found in description.swept.items()
        ]
        blocks += [
            Text("The sweep: accuracy on dev rows by learning rate, first seed; the best is used for every seed."),
            Table(["arm", *rates, "chosen"], swept),
        ]
    return blocks


def cell_blocks(results: Results, records: Sequence[JsonObject]) -> list[Block]:
    """Every cell: the file with its numbers, and what failed."""
    arms = results.arms
    rows = []
    for record in results.records:
        first = results.of(record["arm"])[0] is record
        rows.append(
            [
                Value(record["cell"], anchor=f"cell-{arms.index(record['arm'])}" if first else None),
                Value(record.get("key", "")[:12]),
                *(
                    Value(
                        percent(record["sets"][name]["accuracy"]) if name in record["sets"] else "-",
                        record["sets"].get(name, {}).get("predictions"),
                    )
                    for name in results.sets
                ),
                Value(next(iter(record["sets"].values()))["predictions"].rpartition("/predictions/")[0]),
            ]
        )
    failed = [record for record in records if "error" in record]
    blocks: list[Block] = [Table(["cell", "key", *results.sets, "run"], rows, words=2)]
    if failed:
        blocks.append(
            Bullets(
                [
                    f"{record['cell']} {'diverged' if record.get('diverged') else 'failed'}: {record['error']}"
                    for record in failed
                ]
            )
        )
    return blocks


def provenance_blocks(description: Description) -> list[Block]:
    """Where to find everything from the numbers back to each teacher answer."""
    rows = description.rows
    lines = [
        f"{name}: {one['rows']} rows, sha256 {one['digest'][:16]}, {one['words']:.1f} words a rationale"
        for name, one in rows["files"].items()
    ]
    lines += [
        f"{name}: completeness error {percent(one['completeness_error'])} % (median), "
        f"{percent(one['above_limit'])} % of rationales above 5 %; label words in "
        f"{percent(one['leakage'])} % of rationales"
        for name, one in description.scores.items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in description.versions.items())
    return [
        Bullets(
            [
                *lines,
                f"Versions: {versions}",
                NOT_RECOMPUTED,
                "cotdistill verify DIR makes every number of this page again from the stored predictions.",
            ]
        )
    ]


def _estimate(interval: Any) -> str:
    return f"{percent(interval.estimate)} ({percent(interval.low)} to {percent(interval.high)})"

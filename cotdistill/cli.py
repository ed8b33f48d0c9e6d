"""The command line: options become one frozen config, the config goes to one pipeline.

Nothing here imports torch: `--help`, `strategies` and usage errors answer at once. What an option means is defined at
its field (`cotdistill.config`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cotdistill import __version__, boundary, console
from cotdistill.boundary import check_strategy_name, load_plugins, set_common, source_of, start
from cotdistill.config import (
    AblateConfig,
    CompareConfig,
    Config,
    DistillConfig,
    ElicitConfig,
    EvaluateConfig,
    PredictConfig,
    PushConfig,
)
from cotdistill.errors import Exit, Partial, UsageError
from cotdistill.garbage import collector_paused
from cotdistill.options import Debug, DryRun, Quiet, epilog, takes

app = typer.Typer(
    name="cotdistill",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    suggest_commands=True,
    help="Compare ways to distil chain-of-thought reasoning from a large language model into a small one.\n\n"
    "A whole study:  cotdistill elicit | cotdistill distill --strategy cascod | cotdistill evaluate",
)

RUN_ANYWHERE = ("seed", "data_seed", "overwrite")  # general options of commands that load no model
ROWS = "Elicited rows, JSON lines (default: stdin; - reads it too)"
Plugin = Annotated[
    list[Path] | None,
    typer.Option(help="Python file with strategies, data sets, checkers, ... of your own (repeatable)"),
]


@app.command(
    epilog=epilog(
        "cotdistill elicit --data questions.jsonl --teacher meta-llama/Llama-3.1-8B-Instruct -o rows.jsonl",
        "cotdistill elicit --data questions.csv --teacher openai:NAME --base-url "
        "http://localhost:8000/v1 -o rows.jsonl",
        "cotdistill elicit --for scott --decode contrastive -o rows.jsonl",
    )
)
@takes(ElicitConfig)
def elicit(options: dict[str, Any], dry_run: DryRun = False) -> None:
    """Elicit rationales from a teacher: question rows in, elicited rows out."""
    chosen = start(ElicitConfig, options)
    from cotdistill.eliciting import elicit as run_elicit

    run_elicit(chosen, dry_run=dry_run)


@app.command(
    epilog=epilog(
        "cotdistill distill rows.jsonl --student Qwen/Qwen2.5-0.5B --strategy cascod -o runs/cascod",
        "cotdistill distill rows.jsonl --strategy scott --param alpha=0.3 --dev dev.jsonl --patience 3",
        "cotdistill elicit | cotdistill distill --strategy cot | cotdistill evaluate",
    )
)
@takes(DistillConfig)
def distill(
    options: dict[str, Any], rows: Annotated[str | None, typer.Argument(help=ROWS)] = None, dry_run: DryRun = False
) -> None:
    """Train a student on elicited rows with one strategy; print one JSON line that names the run."""
    source = source_of(rows, "elicited rows")
    chosen = start(DistillConfig, options)
    check_strategy_name(chosen.strategy, chosen.params)
    with collector_paused():
        from cotdistill.distilling import distill as run_distill

    printed = run_distill(chosen, source, dry_run=dry_run)
    if printed is not None:
        console.emit(printed)


@app.command(
    epilog=epilog(
        "cotdistill evaluate runs/cascod --data heldout.jsonl --data shifted=other.jsonl",
        "cotdistill evaluate runs/* --data heldout.jsonl --probe all --html report.html",
        "cotdistill evaluate Qwen/Qwen2.5-0.5B --strategy cot --data heldout.jsonl",
    )
)
@takes(EvaluateConfig)
def evaluate(
    options: dict[str, Any],
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs, models (with --strategy) or prediction files (default: distill's lines on stdin)"),
    ] = None,
) -> None:
    """Evaluate runs, models or prediction files on question sets; print one JSON line per run and set."""
    chosen = start(EvaluateConfig, options)
    if chosen.strategy is not None:
        check_strategy_name(chosen.strategy, chosen.param)
    if not runs and not chosen.model and sys.stdin.isatty():
        raise UsageError("evaluate needs run directories, or the output of distill on stdin")
    with collector_paused():
        from cotdistill.evaluating import evaluate as run_evaluate
    from cotdistill.evaluating import runs_on_stdin
    from cotdistill.report.probes import probes_table
    from cotdistill.report.tables import results_table

    records = []
    for record in run_evaluate(chosen, runs or ([] if chosen.model else runs_on_stdin())):
        console.emit(record)
        records.append(record)
    results_table(records)
    probes_table(records)


@app.command(
    epilog=epilog(
        "cotdistill predict runs/cascod --data questions.jsonl -o answers.jsonl",
        "cotdistill predict runs/cascod --data questions.csv --map question=stem,choices=A+B+C --samples 8",
        "cotdistill predict Qwen/Qwen2.5-0.5B --strategy cot < questions.jsonl",
        "cotdistill predict runs/cascod --data questions.jsonl --model openai:NAME --base-url http://localhost:8000/v1",
        "cotdistill predict runs/cascod --data questions.jsonl --prompts --limit 1",
    )
)
@takes(PredictConfig)
def predict(
    options: dict[str, Any],
    run: Annotated[str | None, typer.Argument(help="A run directory, or a model (with --strategy)")] = None,
) -> None:
    """Answer questions with a trained student: question rows in, one JSON line with rationale and answer out each."""
    chosen = start(PredictConfig, options)
    asked = run or chosen.model
    if asked is None:
        raise UsageError("predict needs a run directory, or a model (with --strategy)")
    if chosen.strategy is not None:
        check_strategy_name(chosen.strategy, chosen.param)
    chosen = chosen.model_copy(update={"data": source_of(None if chosen.data == "-" else chosen.data, "question rows")})
    with collector_paused():
        from cotdistill.predicting import predict as run_predict
    from cotdistill.predicting import prompts

    if chosen.prompts:
        for record in prompts(chosen, asked):
            console.emit(record)
        return
    for response in run_predict(chosen, asked):
        if chosen.out is None:
            console.emit(response.model_dump(mode="json"))


@app.command(
    epilog=epilog(
        "cotdistill ablate --study scott --out runs/scott",
        "cotdistill ablate rows.jsonl --strategies cot,cascod,post-cot --data heldout.jsonl --seeds 0..4",
        "cotdistill ablate --permute-tokens --mask-tokens 0.25,0.5 --dry-run",
    )
)
@takes(AblateConfig)
def ablate(
    options: dict[str, Any],
    rows: Annotated[str | None, typer.Argument(help="Elicited rows, - for stdin (default: elicits on --train)")] = None,
    dry_run: DryRun = False,
) -> None:
    """Compare strategies on the same rows in a grid of cells: one JSON line per cell, tables, figures and a report."""
    chosen = start(AblateConfig, options)
    for name in chosen.strategies:
        check_strategy_name(name, {})
    with collector_paused():
        from cotdistill.ablating import ablate as run_ablate
    from cotdistill.report.tables import ablation_table

    records = []
    for record in run_ablate(chosen, rows, dry_run):
        console.emit(record)
        records.append(record)
    failed = [record for record in records if "error" in record]
    if records:
        ablation_table(records)
    if failed:
        diverged = sum(bool(record.get("diverged")) for record in failed)
        if diverged == len(failed):
            raise Partial(
                f"{diverged} of {len(records)} cells diverged; give another --lr or --clip, or continue anyway "
                "with --allow-divergence"
            )
        also = f" ({diverged} of them diverged)" if diverged else ""
        raise Partial(f"{len(failed)} of {len(records)} cells failed{also}; run the same command again to retry them")


COMPARED = (*(name for name in CompareConfig.model_fields if name not in Config.model_fields), *RUN_ANYWHERE)


@app.command(
    epilog=epilog(
        "cotdistill compare old/samples_gsm8k_2026-01-01T00-00-00.jsonl new/samples_gsm8k_2026-02-01T00-00-00.jsonl",
        "cotdistill compare baseline=logs/a.eval tuned=logs/b.eval,logs/c.eval --cluster passage --html page.html",
        "cotdistill compare 'cot=runs/cot-*' 'cascod=runs/cascod-*' -o comparison",
    )
)
@takes(CompareConfig, only=COMPARED)
def compare(
    options: dict[str, Any],
    sides: Annotated[
        list[str],
        typer.Argument(
            help="FILE, or NAME=FILE,FILE with a file per seed: runs, predictions, lm-eval's samples_*.jsonl, logs of "
            "inspect_ai, rows of {id, correct|score|prediction}; the first is the baseline"
        ),
    ],
) -> None:
    """Compare result files of any origin, paired by item: difference, interval, tests, what could have been seen."""
    chosen = start(CompareConfig, options)
    from cotdistill.comparing import compare as run_compare
    from cotdistill.report.compared import compared_table

    records = []
    for record in run_compare(chosen, sides):
        console.emit(record)
        records.append(record)
    compared_table(records)


PUSHED = tuple(name for name in PushConfig.model_fields if name not in Config.model_fields)


@app.command(
    epilog=epilog(
        "cotdistill push runs/cascod --repo me/cascod-student --dry-run",
        "cotdistill push runs/cascod --repo me/cascod-student --public",
    )
)
@takes(PushConfig, only=PUSHED)
def push(
    options: dict[str, Any], run: Annotated[str, typer.Argument(help="A run directory")], dry_run: DryRun = False
) -> None:
    """Send a run's student and model card to the Hugging Face hub, private by default; print one JSON line."""
    chosen = start(PushConfig, options)
    from cotdistill.pushing import push as run_push

    console.emit(run_push(chosen, run, dry_run))


@app.command(
    epilog=epilog("cotdistill verify runs/scott", "cotdistill verify runs/scott && tar czf scott.tar.gz runs/scott")
)
def verify(
    folder: Annotated[Path, typer.Argument(help="Directory written by ablate")],
    plugin: Plugin = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Recompute every number of an ablation from stored predictions and check every digest; exit 7 on a difference."""
    set_common(quiet, debug)
    load_plugins(plugin or [])
    from cotdistill.verify import verify as run_verify

    console.emit(run_verify(folder))


@app.command(epilog=epilog("cotdistill plugins", "cotdistill plugins --json --plugin mine.py"))
def plugins(
    json_: Annotated[bool, typer.Option("--json", help="One JSON line per name")] = False,
    plugin: Plugin = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List what can be named: strategies, teachers, data sets, checkers, probes, extractors, trackers; and their
    origin."""
    set_common(quiet, debug)
    load_plugins(plugin or [])
    from cotdistill.plugins.listing import listing
    from cotdistill.report.tables import plugins_table

    listed = listing()
    if json_ or not sys.stdout.isatty():
        for entry in listed:
            console.emit(entry)
    if not json_:
        plugins_table(listed)


@app.command(epilog=epilog("cotdistill strategies", "cotdistill strategies --json --plugin mine.py"))
def strategies(
    json_: Annotated[bool, typer.Option("--json", help="One JSON line per strategy")] = False,
    plugin: Plugin = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List every strategy: paper, required slots, forms with their loss shares."""
    set_common(quiet, debug)
    load_plugins(plugin or [])
    from cotdistill.report.tables import strategies_table
    from cotdistill.strategies.catalogue import catalogue

    listed = catalogue()
    if json_ or not sys.stdout.isatty():
        for entry in listed:
            console.emit(entry)
    if not json_:
        strategies_table(listed)


PREVIEWED = (
    "strategy",
    "param",
    "rewrite",
    "student",
    "select",
    "select_share",
    "mix",
    "answers",
    "chat",
    "data_seed",
    "plugin",
    "trust_remote_code",
    "partial_weights",
)


@app.command(
    epilog=epilog(
        "cotdistill preview --strategy scott",
        "cotdistill preview rows.jsonl --row 3 --strategy cascod --student Qwen/Qwen2.5-0.5B",
    )
)
@takes(DistillConfig, only=PREVIEWED)
def preview(
    options: dict[str, Any],
    rows: Annotated[str | None, typer.Argument(help="Elicited rows (default: a row of the embedded world)")] = None,
    row: Annotated[int, typer.Option(help="Index of the row to show, from 0")] = 0,
    progress: Annotated[
        float, typer.Option(min=0, max=0.999, help="Share of training that is done, for strategies that change with it")
    ] = 0.0,
) -> None:
    """Show one row as the exact tokens of each form: learned, given, and the prompt at inference.

    With --select also which rows are kept, and the score of each.
    """
    chosen = start(DistillConfig, options)
    check_strategy_name(chosen.strategy, chosen.params)
    from cotdistill.preview import preview as run_preview

    for record in run_preview(chosen, rows, row, progress):
        console.emit(record)


@app.command(epilog=epilog("cotdistill schema", "cotdistill schema | grep rows"))
def schema() -> None:
    """Print the JSON Schema of every file format, one JSON line each."""
    from cotdistill.schema import schemas

    for record in schemas():
        console.emit(record)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit(Exit.DONE)


def run() -> NoReturn:
    """The console script."""
    boundary.run(app)

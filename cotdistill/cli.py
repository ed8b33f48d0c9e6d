"""The command line: options become one frozen config, the config goes to one pipeline.

Nothing here imports torch: `--help`, `strategies` and usage errors answer at once. What an option means stands at
its field (`cotdistill.config`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cotdistill import __version__, boundary, console
from cotdistill.boundary import check_strategy_name, load_plugins, set_common, source_of, start
from cotdistill.config import AblateConfig, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.errors import Exit, Partial, UsageError
from cotdistill.options import Debug, DryRun, Quiet, epilog, takes

app = typer.Typer(
    name="cotdistill",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    suggest_commands=True,
    help="Compare ways to distil chain-of-thought reasoning from a large language model into a small one.\n\n"
    "A whole study:  cotdistill elicit | cotdistill distill --strategy cascod | cotdistill evaluate",
)

ROWS = "Elicited rows, JSON lines (default: stdin; - reads it too)"
Plugin = Annotated[list[Path] | None, typer.Option(help="Python file with strategies of your own (repeatable)")]


@app.command(epilog=epilog(
    "cotdistill elicit --data questions.jsonl --teacher meta-llama/Llama-3.1-8B-Instruct -o rows.jsonl",
    "cotdistill elicit --data questions.csv --teacher openai:NAME --base-url http://localhost:8000/v1 -o rows.jsonl",
    "cotdistill elicit --for scott --decode contrastive -o rows.jsonl"))
@takes(ElicitConfig)
def elicit(options: dict[str, Any], dry_run: DryRun = False) -> None:
    """Ask a teacher for rationales: question rows in, elicited rows out."""
    chosen = start(ElicitConfig, options)
    from cotdistill.elicit import elicit as run_elicit

    run_elicit(chosen, dry_run=dry_run)


@app.command(epilog=epilog(
    "cotdistill distill rows.jsonl --student Qwen/Qwen2.5-0.5B --strategy cascod -o runs/cascod",
    "cotdistill distill rows.jsonl --strategy scott --param alpha=0.3 --dev dev.jsonl --patience 3",
    "cotdistill elicit | cotdistill distill --strategy cot | cotdistill evaluate"))
@takes(DistillConfig)
def distill(
    options: dict[str, Any],
    rows: Annotated[str | None, typer.Argument(help=ROWS)] = None,
    dry_run: DryRun = False,
) -> None:
    """Train a student on elicited rows with one strategy; prints one JSON line that names the run."""
    source = source_of(rows, "elicited rows")
    chosen = start(DistillConfig, options)
    check_strategy_name(chosen.strategy, chosen.param)
    from cotdistill.distill import distill as run_distill

    found = run_distill(chosen, source, dry_run=dry_run)
    if found is not None:
        console.emit(found)


@app.command(epilog=epilog(
    "cotdistill evaluate runs/cascod --data heldout.jsonl --data shifted=other.jsonl",
    "cotdistill evaluate runs/* --data heldout.jsonl --probe all --html report.html",
    "cotdistill evaluate Qwen/Qwen2.5-0.5B --strategy cot --data heldout.jsonl"))
@takes(EvaluateConfig)
def evaluate(
    options: dict[str, Any],
    runs: Annotated[list[str] | None, typer.Argument(
        help="Runs, models (with --strategy) or prediction files (default: distill's lines on stdin)")] = None,
) -> None:
    """Evaluate runs, models or prediction files on question sets: accuracy with its interval, faithfulness,
    calibration; one JSON line each."""
    chosen = start(EvaluateConfig, options)
    if chosen.strategy is not None:
        check_strategy_name(chosen.strategy, chosen.param)
    if not runs and sys.stdin.isatty():
        raise UsageError("evaluate needs run directories, or the output of distill on stdin")
    from cotdistill.evaluate import evaluate as run_evaluate
    from cotdistill.evaluate import runs_on_stdin
    from cotdistill.report.probes import probes_table
    from cotdistill.report.tables import results_table

    found = []
    for record in run_evaluate(chosen, runs or runs_on_stdin()):
        console.emit(record)
        found.append(record)
    results_table(found)
    probes_table(found)


@app.command(epilog=epilog(
    "cotdistill ablate --study scott --out runs/scott",
    "cotdistill ablate rows.jsonl --strategies cot,cascod,post-cot --data heldout.jsonl --seeds 0..4",
    "cotdistill ablate --permute-tokens --mask-tokens 0.25,0.5 --dry-run"))
@takes(AblateConfig)
def ablate(
    options: dict[str, Any],
    rows: Annotated[str | None, typer.Argument(help="Elicited rows, - for stdin (default: elicits on --train)")] = None,
    dry_run: DryRun = False,
) -> None:
    """Compare strategies on the same rows: a grid of cells, one JSON line per cell, tables, figures and a report."""
    chosen = start(AblateConfig, options)
    for name in chosen.strategies:
        check_strategy_name(name, {})
    from cotdistill.ablate import ablate as run_ablate
    from cotdistill.report.tables import ablation_table

    found = []
    for record in run_ablate(chosen, rows, dry_run):
        console.emit(record)
        found.append(record)
    failed = [record for record in found if "error" in record]
    if found:
        ablation_table(found)
    if failed:
        diverged = sum(bool(record.get("diverged")) for record in failed)
        if diverged == len(failed):
            raise Partial(f"{diverged} of {len(found)} cells diverged; give another --lr or --clip, or go on all the "
                          "same with --allow-divergence")
        also = f" ({diverged} of them diverged)" if diverged else ""
        raise Partial(f"{len(failed)} of {len(found)} cells failed{also}; run the same command again to retry them")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="What ablate wrote")],
    quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Recompute every number of an ablation from stored predictions and check every digest; exit 7 on a difference."""
    set_common(quiet, debug)
    from cotdistill.verify import verify as run_verify

    console.emit(run_verify(folder))


@app.command()
def strategies(
    json_: Annotated[bool, typer.Option("--json", help="One JSON line each")] = False,
    plugin: Plugin = None, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """List every strategy: paper, slots it needs, forms with their shares."""
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


PREVIEWED = ("strategy", "param", "student", "answers", "chat", "data_seed", "plugin", "trust_remote_code",
             "partial_weights")


@app.command(epilog=epilog("cotdistill preview --strategy scott",
                           "cotdistill preview rows.jsonl --row 3 --strategy cascod --student Qwen/Qwen2.5-0.5B"))
@takes(DistillConfig, only=PREVIEWED)
def preview(
    options: dict[str, Any],
    rows: Annotated[str | None, typer.Argument(help="Elicited rows (default: a row of the embedded world)")] = None,
    row: Annotated[int, typer.Option(help="Which row to show, from 0")] = 0,
) -> None:
    """Show one row as each form's exact token stream: what is learned, what is given, what is asked."""
    chosen = start(DistillConfig, options)
    check_strategy_name(chosen.strategy, chosen.param)
    from cotdistill.preview import preview as run_preview

    for record in run_preview(chosen, rows, row):
        console.emit(record)


@app.command()
def schema() -> None:
    """Print the JSON Schema of every file, one JSON line each."""
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

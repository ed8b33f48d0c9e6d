"""The command line: options become one frozen config, the config goes to one pipeline.

The only Typer code. Nothing here imports torch: `--help`, `strategies` and usage errors answer at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cotdistill import __version__, boundary, console
from cotdistill.boundary import check_strategy_name, load_plugins, set_common, source_of, start
from cotdistill.config import (
    AblateConfig,
    DistillConfig,
    ElicitConfig,
    EvaluateConfig,
    parse_params,
    split_list,
)
from cotdistill.errors import Exit, Partial, UsageError
from cotdistill.options import (
    ConfigFile,
    DataSeed,
    Debug,
    Device,
    DryRun,
    Dtype,
    Limit,
    Plugin,
    Quiet,
    Seed,
    TrustRemoteCode,
)

app = typer.Typer(
    name="cotdistill",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    suggest_commands=True,
    help="Compare ways to distil chain-of-thought reasoning from a large language model into a small one.\n\n"
    "A whole study:  cotdistill elicit | cotdistill distill --strategy cascod | cotdistill evaluate",
)

ROWS = "Elicited rows, JSON lines (default: stdin; - reads it too)"


@app.command()
def elicit(
    teacher: Annotated[str | None, typer.Option(
        help="demo, a local path or hub name, openai:MODEL, recorded:FILE, or rows", show_default="demo")] = None,
    data: Annotated[str | None, typer.Option(
        help="demo, a JSONL, CSV or Parquet file, - for stdin, or hf:NAME", show_default="demo")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set", show_default="train")] = None,
    hint: Annotated[str | None, typer.Option(
        help="none: the teacher answers by itself; gold: it explains the gold answer")] = None,
    decode: Annotated[str | None, typer.Option(
        help="greedy, sample, contrastive or rerank", show_default="greedy")] = None,
    contrast: Annotated[str | None, typer.Option(help="wrong or empty answer", show_default="wrong")] = None,
    lambda_: Annotated[float | None, typer.Option("--lambda", help="Weight of the contrast",
                                                  show_default="0.5")] = None,
    plausibility: Annotated[float | None, typer.Option(help="Mask tokens below this share of the likeliest")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature", show_default="1")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus of sampling", show_default="1")] = None,
    counterfactual: Annotated[bool | None, typer.Option(
        "--counterfactual", help="Elicit a rationale for a wrong answer too")] = None,
    wrong: Annotated[str | None, typer.Option(help="random, hardest or all", show_default="random")] = None,
    for_: Annotated[str | None, typer.Option("--for", help="Elicit what this strategy needs")] = None,
    samples: Annotated[int | None, typer.Option(help="Rationales a question (sampling)", show_default="1")] = None,
    shots: Annotated[int | None, typer.Option(help="Demonstrations in the prompt")] = None,
    prompt: Annotated[Path | None, typer.Option(help="Jinja2 prompt template of your own")] = None,
    chat: Annotated[str | None, typer.Option(help="Chat template: auto, on or off", show_default="auto")] = None,
    reasoning: Annotated[str | None, typer.Option(
        help="Thinking spans: drop, or take them as the rationale", show_default="drop")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest rationale", show_default="128")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Questions decoded at once", show_default="16")] = None,
    base_url: Annotated[str | None, typer.Option(help="Server of openai:MODEL; key from OPENAI_API_KEY only")] = None,
    endpoint: Annotated[str | None, typer.Option(help="chat or completion", show_default="chat")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests under way at once", show_default="8")] = None,
    retries: Annotated[int | None, typer.Option(help="Of a failed request", show_default="6")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds a request may take", show_default="120")] = None,
    price_in: Annotated[float | None, typer.Option(help="$ per million prompt tokens")] = None,
    price_out: Annotated[float | None, typer.Option(help="$ per million completion tokens")] = None,
    map: Annotated[str | None, typer.Option(help="question=COL,choices=COL,answer=COL of foreign rows")] = None,
    mix: Annotated[bool | None, typer.Option("--mix", help="Keep rationales made under other settings")] = None,
    keep: Annotated[str | None, typer.Option(help="right: distil only right ones; all", show_default="right")] = None,
    retry_failed: Annotated[bool | None, typer.Option("--retry-failed", help="Ask failed rows again")] = None,
    shard: Annotated[str | None, typer.Option(help="I/N: only this part of the rows")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write (resumes; default: stdout)")] = None,
    config: ConfigFile = None, seed: Seed = None, data_seed: DataSeed = None, limit: Limit = None,
    plugin: Plugin = None, device: Device = None, dtype: Dtype = None, trust_remote_code: TrustRemoteCode = None,
    quiet: Quiet = False, debug: Debug = False, dry_run: DryRun = False,
) -> None:
    """Ask a teacher for rationales: question rows in, elicited rows out."""
    chosen, dry = start(ElicitConfig, dict(locals()))
    from cotdistill.elicit import elicit as run_elicit

    run_elicit(chosen, dry_run=dry)


@app.command()
def distill(
    rows: Annotated[str | None, typer.Argument(help=ROWS)] = None,
    strategy: Annotated[str | None, typer.Option(help="See cotdistill strategies", show_default="cot")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the strategy (repeatable)")] = None,
    student: Annotated[str | None, typer.Option(help="demo, a local path or hub name", show_default="demo")] = None,
    answers: Annotated[str | None, typer.Option(help="text, letter or letter-text", show_default="text")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows", show_default="10")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples an optimizer step", show_default="16")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate", show_default="0.002")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or adafactor", show_default="adamw")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="On matrices only", show_default="0.01")] = None,
    schedule: Annotated[str | None, typer.Option(help="linear, cosine or constant", show_default="cosine")] = None,
    warmup: Annotated[float | None, typer.Option(help="Share of the steps", show_default="0.06")] = None,
    clip: Annotated[float | None, typer.Option(help="Norm gradients are clipped to", show_default="1")] = None,
    recipe: Annotated[str | None, typer.Option(
        help="Published hyper-parameters: scott, cascod, mysteries, step-by-step")] = None,
    lora: Annotated[str | None, typer.Option(help="r=64,alpha=32[,target=...]: train low-rank adapters")] = None,
    merge_lora: Annotated[bool | None, typer.Option("--merge-lora/--no-merge-lora",
                                                    help="Merge them on export", show_default="merge")] = None,
    quantize: Annotated[str | None, typer.Option(help="8bit or 4bit base under --lora")] = None,
    chat: Annotated[bool | None, typer.Option("--chat", help="Wrap sources in the student's chat template")] = None,
    token_budget: Annotated[int | None, typer.Option(help="Tokens a micro-batch (default: what suits)")] = None,
    max_memory: Annotated[float | None, typer.Option(help="GiB; the token budget is halved to stay below")] = None,
    checkpoint_activations: Annotated[bool | None, typer.Option(
        "--checkpoint-activations", help="Less memory, a second forward")] = None,
    compile: Annotated[bool | None, typer.Option("--compile", help="torch.compile the student")] = None,
    scores: Annotated[Path | None, typer.Option(help="Word scores for post-cot-key, made by an attribution")] = None,
    dev: Annotated[str | None, typer.Option(help="Question rows on which the best checkpoint is chosen")] = None,
    dev_every: Annotated[int | None, typer.Option(help="Steps between them", show_default="an epoch")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after this many without a better one")] = None,
    track: Annotated[str | None, typer.Option(help="trackio, wandb, tensorboard, mlflow")] = None,
    max_length: Annotated[int | None, typer.Option(help="Drop longer samples (default: the model's context)")] = None,
    max_dropped: Annotated[float | None, typer.Option(help="Fail above this share", show_default="0.02")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints")] = None,
    keep_checkpoints: Annotated[int | None, typer.Option(help="Checkpoints kept", show_default="2")] = None,
    allow_partial: Annotated[bool | None, typer.Option(
        "--allow-partial", help="Train on a stream that lacks its end")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Run directory (default: runs/STRATEGY-KEY)")] = None,
    config: ConfigFile = None, seed: Seed = None, data_seed: DataSeed = None, limit: Limit = None,
    plugin: Plugin = None, device: Device = None, dtype: Dtype = None, trust_remote_code: TrustRemoteCode = None,
    quiet: Quiet = False, debug: Debug = False, dry_run: DryRun = False,
) -> None:
    """Train a student on elicited rows with one strategy; prints one JSON line that names the run."""
    options = dict(locals())
    source = source_of(options.pop("rows"), "elicited rows")
    options["param"], options["track"] = parse_params(param), split_list(track)
    chosen, dry = start(DistillConfig, options)
    check_strategy_name(chosen.strategy, chosen.param)
    from cotdistill.distill import distill as run_distill

    found = run_distill(chosen, source, dry_run=dry)
    if found is not None:
        console.emit(found)


@app.command()
def evaluate(
    runs: Annotated[list[str] | None, typer.Argument(
        help="Runs, models (with --strategy) or prediction files (default: distill's lines on stdin)")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Question rows, FILE or NAME=FILE (repeatable)")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data sets")] = None,
    in_domain: Annotated[str | None, typer.Option(help="Sets of the training domain", show_default="the first")] = None,
    train: Annotated[str | None, typer.Option(help="Training rows, for the overlap (default: the run's own)")] = None,
    strategy: Annotated[str | None, typer.Option(help="How a plain model is walked")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of that strategy (repeatable)")] = None,
    answers: Annotated[str | None, typer.Option(help="A plain model's: text, letter or letter-text")] = None,
    score: Annotated[str | None, typer.Option(help="walk or choices", show_default="walk")] = None,
    connectors: Annotated[str | None, typer.Option(help="forced or free", show_default="forced")] = None,
    extractor: Annotated[str | None, typer.Option(help="answers or math-verify", show_default="answers")] = None,
    samples: Annotated[int | None, typer.Option(help="Sampled walks a question: majority vote, pass@k")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the samples", show_default="0.7")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus of the samples", show_default="1")] = None,
    calibrate: Annotated[bool | None, typer.Option(
        "--calibrate/--no-calibrate", help="Confidence by likelihood", show_default="--calibrate")] = None,
    probe: Annotated[str | None, typer.Option(help="all, or names of faithfulness probes: oracle,corrupt,...")] = None,
    rationales: Annotated[str | None, typer.Option(help="Elicited rows of the questions, for the probes")] = None,
    ratios: Annotated[str | None, typer.Option(help="Of corrupted tokens, e.g. 0.25,0.5", show_default="0.5")] = None,
    simulator: Annotated[str | None, typer.Option(help="Of LAS: tfidf, transformer", show_default="tfidf")] = None,
    simulator_model: Annotated[str | None, typer.Option(
        help="What the transformer starts from", show_default="what the student started from")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Questions at once", show_default="32")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest slot", show_default="160")] = None,
    flip_rate: Annotated[int | None, typer.Option(help="Compare with this batch size")] = None,
    from_predictions: Annotated[bool | None, typer.Option(
        "--from-predictions", help="Recompute from stored predictions, without a model")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page")] = None,
    export: Annotated[tuple[str, Path] | None, typer.Option(
        help="lm-eval DIR: the same questions as tasks of EleutherAI's harness")] = None,
    model_card: Annotated[bool | None, typer.Option("--model-card", help="Write results into RUN/README.md")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where a plain model's predictions go")] = None,
    config: ConfigFile = None, seed: Seed = None, data_seed: DataSeed = None, limit: Limit = None,
    plugin: Plugin = None, device: Device = None, dtype: Dtype = None, trust_remote_code: TrustRemoteCode = None,
    quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Walk runs over question sets: accuracy with its interval, faithfulness, calibration; one JSON line each."""
    options = dict(locals())
    named = options.pop("runs")
    for name in ("in_domain", "probe", "ratios", "simulator"):
        options[name] = split_list(options[name])
    options["param"] = parse_params(param)
    chosen, _ = start(EvaluateConfig, options)
    if chosen.strategy is not None:
        check_strategy_name(chosen.strategy, chosen.param)
    if not named and sys.stdin.isatty():
        raise UsageError("evaluate needs run directories, or the output of distill on stdin")
    from cotdistill.evaluate import evaluate as run_evaluate
    from cotdistill.evaluate import runs_on_stdin
    from cotdistill.report.probes import probes_table
    from cotdistill.report.tables import results_table

    found = []
    for record in run_evaluate(chosen, named or runs_on_stdin()):
        console.emit(record)
        found.append(record)
    results_table(found)
    probes_table(found)


@app.command()
def ablate(
    rows: Annotated[str | None, typer.Argument(help="Elicited rows, - for stdin (default: elicits on --train)")] = None,
    study: Annotated[str | None, typer.Option(help="A paper's questions: scott, mysteries or cascod")] = None,
    strategies: Annotated[str | None, typer.Option(help="Comma-separated; see cotdistill strategies")] = None,
    param: Annotated[list[str] | None, typer.Option(
        help="NAME=V1,V2 of all strategies that have it, or STRATEGY.NAME=V1,V2 (repeatable)")] = None,
    placement: Annotated[str | None, typer.Option(help="Rationale before,after the label")] = None,
    permute_tokens: Annotated[bool | None, typer.Option(
        "--permute-tokens", help="Add post-cot with a shuffled rationale")] = None,
    permute_level: Annotated[str | None, typer.Option(help="word,token,sentence", show_default="word")] = None,
    mask_tokens: Annotated[str | None, typer.Option(help="Ratios of masked words, e.g. 0.25,0.5")] = None,
    key_tokens: Annotated[str | None, typer.Option(help="Numbers of key words kept, e.g. 1,3,5")] = None,
    key_by: Annotated[str | None, typer.Option(
        help="tfidf,integrated-gradients,gradient-input,random", show_default="tfidf")] = None,
    key_from: Annotated[str | None, typer.Option(
        help="Whose gradients: student (rationale first) or teacher", show_default="student")] = None,
    exclude_label: Annotated[bool | None, typer.Option(
        "--exclude-label", help="The label's words are never key words")] = None,
    tags: Annotated[str | None, typer.Option(help="SCOTT's tags: none,input,both")] = None,
    controls: Annotated[bool | None, typer.Option(
        "--controls/--no-controls", help="Answer-only, swapped rationales, random words, shuffled labels",
        show_default="controls")] = None,
    baseline: Annotated[str | None, typer.Option(help="Label of the arm that all others are held against")] = None,
    teacher: Annotated[str | None, typer.Option(
        help="As in elicit; it also answers the sets", show_default="demo")] = None,
    train: Annotated[str | None, typer.Option(help="Question rows to elicit on", show_default="demo")] = None,
    teacher_decoding: Annotated[str | None, typer.Option(help="greedy,contrastive", show_default="greedy")] = None,
    match_lengths: Annotated[bool | None, typer.Option(
        "--match-lengths", help="Only rows whose rationales are about as long under every decoding")] = None,
    train_size: Annotated[str | None, typer.Option(help="Shares of the rows, e.g. 0.1,0.5,1", show_default="1")] = None,
    seeds: Annotated[str | None, typer.Option(help="e.g. 0,1,2 or 0..4", show_default="0,1,2")] = None,
    student: Annotated[str | None, typer.Option(
        help="Comma-separated: demo, local paths or hub names", show_default="demo")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Rows to evaluate on (repeatable; in-domain first)")] = None,
    dev: Annotated[str | None, typer.Option(help="Rows on which --sweep chooses (default: held out)")] = None,
    probe: Annotated[str | None, typer.Option(help="Faithfulness probes, as in evaluate")] = None,
    budget: Annotated[str | None, typer.Option(
        help="What is equal for all: examples, steps, learned-tokens or flops", show_default="examples")] = None,
    sweep: Annotated[list[str] | None, typer.Option(help="lr=V1,V2: the same small sweep for every arm")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the rows", show_default="10")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples an optimizer step", show_default="16")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate", show_default="0.002")] = None,
    jobs: Annotated[int | None, typer.Option(help="Worker processes (default: one a GPU, or a core)")] = None,
    ray: Annotated[str | None, typer.Option(help="Run the cells on a Ray cluster: its address, or auto")] = None,
    gpus_per_cell: Annotated[float | None, typer.Option(help="Of a Ray cluster's GPUs", show_default="1")] = None,
    explain: Annotated[bool | None, typer.Option("--explain", help="Say of each cell why it is run, or not")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Directory", show_default="runs/ablation")] = None,
    config: ConfigFile = None, seed: Seed = None, data_seed: DataSeed = None, limit: Limit = None,
    plugin: Plugin = None, device: Device = None, dtype: Dtype = None, trust_remote_code: TrustRemoteCode = None,
    quiet: Quiet = False, debug: Debug = False, dry_run: DryRun = False,
) -> None:
    """Compare strategies on the same rows: a grid of cells, one JSON line per cell, tables, figures and a report."""
    options = dict(locals())
    source = options.pop("rows")
    for name in ("strategies", "placement", "permute_level", "mask_tokens", "key_tokens", "key_by", "tags",
                 "teacher_decoding", "train_size", "seeds", "student", "probe"):
        options[name] = split_list(options[name])
    for name in ("param", "sweep"):
        given = parse_params(options[name])
        options[name] = None if given is None else {key: split_list(value) for key, value in given.items()}
    chosen, dry = start(AblateConfig, options)
    for name in chosen.strategies:
        check_strategy_name(name, {})
    from cotdistill.ablate import ablate as run_ablate
    from cotdistill.report.tables import ablation_table

    found = []
    for record in run_ablate(chosen, source, dry):
        console.emit(record)
        found.append(record)
    failed = [record for record in found if "error" in record]
    if found:
        ablation_table(found)
    if failed:
        raise Partial(f"{len(failed)} of {len(found)} cells failed; run the same command again to retry them")


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


@app.command()
def preview(
    rows: Annotated[str | None, typer.Argument(help="Elicited rows (default: a row of the embedded world)")] = None,
    strategy: Annotated[str | None, typer.Option(help="See cotdistill strategies", show_default="cot")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the strategy (repeatable)")] = None,
    student: Annotated[str | None, typer.Option(help="demo, a local path or hub name", show_default="demo")] = None,
    answers: Annotated[str | None, typer.Option(help="text, letter or letter-text", show_default="text")] = None,
    row: Annotated[int, typer.Option(help="Which row to show, from 0")] = 0,
    config: ConfigFile = None, data_seed: DataSeed = None, plugin: Plugin = None,
    trust_remote_code: TrustRemoteCode = None, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Show one row as each form's exact token stream: what is learned, what is given, what is asked."""
    options = dict(locals())
    source, at = options.pop("rows"), options.pop("row")
    options["param"] = parse_params(param)
    chosen, _ = start(DistillConfig, options)
    check_strategy_name(chosen.strategy, chosen.param)
    from cotdistill.preview import preview as run_preview

    for record in run_preview(chosen, source, at):
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

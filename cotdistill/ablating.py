"""`cotdistill ablate`: a grid of strategies, parameters and seeds on the same rows, compared in one report.

rows        elicited, or given; one file per teacher decoding, the questions every arm can use
references  the teacher and the untrained student answer the evaluation sets
budget      how many steps each arm gets
sweep       each arm's learning rate, or whatever else is swept, chosen on dev rows
cells       arms x seeds, trained and evaluated by warm workers; finished ones are not done again
report      comparisons, tables and figures from the stored predictions
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from cotdistill.config import AblateConfig
from cotdistill.console import say, warn
from cotdistill.data.files import JsonObject, check_folder, json_digest, write_text
from cotdistill.data.lock import locked_folder
from cotdistill.data.records import digest
from cotdistill.data.runcard import refuse_foreign
from cotdistill.errors import CotdistillError, UsageError
from cotdistill.grid.arms import Arm, arms, baseline, resolve_study
from cotdistill.grid.attributions import Scoring
from cotdistill.grid.axes import Swept, candidates, said
from cotdistill.grid.budgets import Load, budget_steps, counts_tokens, taught
from cotdistill.grid.cells import Cell, CellStore, cell_name
from cotdistill.grid.choose_executor import executor_for
from cotdistill.grid.description import describe_grid
from cotdistill.grid.digests import damaged, run_of, set_aside, write_digests
from cotdistill.grid.estimate import estimate
from cotdistill.grid.executors import Executor, Outcome, Task
from cotdistill.grid.keeping import Keeping, drop_student, without_student
from cotdistill.grid.key_words import KeyWordScores
from cotdistill.grid.plan import Plan, plan_of
from cotdistill.grid.preparation import Prepared, choose_rows, references, row_tasks
from cotdistill.grid.refusals import check_models, check_questions, check_rows
from cotdistill.grid.room import check_room, footprints
from cotdistill.grid.rows import rows_of_arm
from cotdistill.grid.sets import QuestionSet, contaminations, dev_set
from cotdistill.grid.shards import POLL, Claims, Shard
from cotdistill.grid.starts import Restoring, Starts
from cotdistill.grid.tasks import WorkerState, measure_load, restore_cell, run_cell
from cotdistill.grid.tracking import Tracking
from cotdistill.grid.waiting import Waiting, Wanted
from cotdistill.grid.watching import WatchedExecutor
from cotdistill.report.ablation import made_line, write_lines, write_report
from cotdistill.run_key import definition


def ablate(config: AblateConfig, rows: str | None, dry_run: bool = False) -> Iterator[JsonObject]:
    """Run the missing part of a grid, yield each cell's record as it finishes (or its error), write the report.

    `rows`: elicited rows, `-` for stdin; None elicits on `--train`, by default the embedded world.
    """
    config, study = resolve_study(config)
    listed = arms(config)
    candidates(config.sweep)  # raises UsageError
    base = baseline(config, listed)
    say(
        f"{len(listed)} arms x {len(config.seeds)} seeds = {len(listed) * len(config.seeds)} cells, "
        f"against {base.label}: " + ", ".join(arm.label for arm in listed)
    )
    grid = Grid(plan_of(config, study, listed, base, rows))
    check_questions(grid.plan)
    check_models(grid.plan)
    check_rows(grid.plan)
    if dry_run:
        estimate(grid.plan, grid.store)
        return
    if config.measure:
        raise UsageError("--measure changes nothing without --dry-run")
    check_room(grid.plan, footprints(grid.plan))
    check_folder(grid.out)
    if not config.overwrite:
        refuse_foreign(grid.out, GRID)
    with locked_folder(grid.out, shared=config.shard is not None):
        executor = WatchedExecutor(
            executor_for(
                config, partial(WorkerState, config, grid.out), -(-len(listed) * len(config.seeds) // grid.shard.of)
            )
        )
        try:
            yield from grid.run(executor)
        finally:
            executor.close()
            grid.claims.close()


GRID = ("ablation.json", "cells", "references", "rows")  # what a grid writes before anything else


class Grid:
    """One ablation from rows to report; all its files are under `out`."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.config, self.arms, self.out = plan, plan.config, plan.arms, plan.out
        self.store = CellStore(self.out)
        self.shard, self.claims = Shard.parse(self.config.shard), Claims(self.store.folder, bool(self.config.shard))
        self.records: dict[str, JsonObject] = {}
        self.swept: dict[str, dict[str, float | None]] = {}
        self.chosen: dict[str, Swept] = {}
        self.keeping = Keeping(self.config.keep_students, self.config.seeds, self.out)
        self.starts = Starts(self.arms, self.config.seeds)
        self.waiting = Waiting((), self.blocker)
        self.tracking = Tracking(self.config.track, self.out)

    def run(self, executor: Executor) -> Iterator[JsonObject]:
        """Run every stage; a shard runs its part of the cells and writes no report."""
        with self.claims.alone("rows", "the rows"):  # made once, by the first shard to come
            executor.submit(list(row_tasks(self.plan, self.store)))
            if not self.claims.several:
                yield from self.submit_references(executor)
            yield from self.prepare(executor)
            self.rows = choose_rows(self.plan)
            self.overlap = contaminations(self.plan.sets, self.rows)
            self.digests = {arm.label: digest(rows_of_arm(self.rows, arm, self.config.data_seed)) for arm in self.arms}
            self.taught = {
                arm.label: taught(self.rows, arm, self.plan.training(arm)[0], self.config.data_seed)
                for arm in self.arms
            }
            self.scores = KeyWordScores(self.plan, self.store, self.rows, self.taught)
            if counts_tokens(self.config.budget, self.arms) or self.claims.several:
                self.finish_scores(executor)  # key words must be known before their tokens can be counted
            dev = self.dev() if self.config.sweep else ()
        self.steps = self.budget(executor)
        cells = [(arm, seed) for arm in self.arms for seed in self.config.seeds]
        mine = self.shard.part(cells)
        self.chosen = self.sweep(executor, [arm for arm in self.arms if any(arm is own for own, _ in mine)], dev)
        if self.claims.several:
            yield from self.submit_references(executor)
            yield from self.prepare(executor)
        yield from self.run_cells(
            executor, [(arm, seed, self.chosen[arm.label]) for arm, seed in mine], "compare", self.plan.sets
        )
        if self.claims.several:
            self.leave([cell_name(arm, seed, (), "compare") for arm, seed in mine], len(cells))
        else:
            self.report()

    def submit_references(self, executor: Executor) -> Iterator[JsonObject]:
        """Queue the references of this shard; yield finished ones."""
        for name, about, task in self.shard.part(list(references(self.plan))):
            if not self.claims.take(json_digest(about)):
                continue
            stored = self.finished(json_digest(about))
            if stored is None:
                executor.submit([Task(Prepared(name, about), *task)])
            else:
                self.claims.give_back(json_digest(about))
                yield self.take(stored, None)

    def prepare(self, executor: Executor) -> Iterator[JsonObject]:
        """Make the queued rows and references."""
        for outcome in executor.outcomes():
            name, about = outcome.about
            if outcome.error is None:
                record, *seconds = outcome.value
                if "sets" in record:
                    yield self.take(record, about, *seconds)
                else:
                    self.store.put(name, about, record)
            elif outcome.refused or name.startswith("rows"):
                _value(outcome)
            else:
                yield self.take({"cell": name, "arm": name, "role": name.split()[0], "error": outcome.error}, about)

    def budget(self, executor: Executor) -> dict[str, int]:
        """{label: optimizer steps}."""
        loads: dict[str, Load] = {}
        if counts_tokens(self.config.budget, self.arms):
            executor.submit([Task(arm.label, measure_load, (arm, self.plan.distilled(arm, 0, 1))) for arm in self.arms])
            loads = {outcome.about: _value(outcome) for outcome in executor.outcomes()}
        configs = {arm.label: self.plan.training(arm)[0] for arm in self.arms}
        return budget_steps(self.config.budget, configs, self.plan.base.label, self.taught, loads, self.arms)

    def finish_scores(self, executor: Executor) -> None:
        """Wait for every attribution."""
        executor.submit(self.scores.tasks())
        for outcome in executor.outcomes():
            _value(outcome)
            self.scores.done(outcome)

    def dev(self) -> tuple[QuestionSet, ...]:
        """The rows that candidates are judged on."""
        return (
            dev_set(
                self.config.dev,
                self.plan.train,
                self.rows.dev(),
                self.out,
                self.config.data_seed,
                self.config.map,
                self.config.apart(),
            ),
        )

    def sweep(self, executor: Executor, swept: Sequence[Arm], dev: tuple[QuestionSet, ...]) -> dict[str, Swept]:
        """{label: the candidate that is best on dev rows, with the first seed}; the smallest of equals."""
        tried = candidates(self.config.sweep)
        if not tried:
            return {arm.label: () for arm in swept}
        wanted = [(arm, self.config.seeds[0], candidate) for arm in swept for candidate in tried]
        for _ in self.run_cells(executor, self.shard.part(wanted), "sweep", dev):
            pass
        self.await_candidates(executor, wanted, dev)
        by_arm: dict[str, dict[Swept, float | None]] = {arm.label: {} for arm in swept}
        for arm, seed, candidate in wanted:
            sets = self.records[cell_name(arm, seed, candidate, "sweep")].get("sets")
            by_arm[arm.label][candidate] = sets[dev[0].name]["accuracy"] if sets else None
        self.swept = {
            label: {", ".join(said(candidate)): accuracy for candidate, accuracy in by.items()}
            for label, by in by_arm.items()
        }
        return {label: max(by, key=lambda candidate: by[candidate] or 0.0) for label, by in by_arm.items()}

    def await_candidates(self, executor: Executor, wanted: Sequence[Wanted], dev: tuple[QuestionSet, ...]) -> None:
        """Candidates that belong to other shards: run here if no process is at work on them, else waited for."""

        def missing() -> list[Wanted]:
            return [candidate for candidate in wanted if cell_name(*candidate, "sweep") not in self.records]

        while left := missing():
            for at in range(0, len(left), executor.size):
                for _ in self.run_cells(executor, left[at : at + executor.size], "sweep", dev):
                    pass
            if len(missing()) == len(left):
                time.sleep(POLL)

    def run_cells(
        self, executor: Executor, wanted: Sequence[Wanted], purpose: str, sets: tuple[QuestionSet, ...]
    ) -> Iterator[JsonObject]:
        """Records of all cells: finished ones from the store, the others from the workers.

        Cells that wait for the scores of key words, or for a student to begin from, begin when these are there.
        """
        executor.submit(self.scores.tasks())
        self.waiting = Waiting(wanted, self.blocker)
        yield from self.submit_ready(executor, purpose, sets)
        for outcome in executor.outcomes():
            match outcome.about:
                case Scoring() as scoring:
                    self.scores.done(outcome)
                    lost = scoring.read_by if outcome.error else lambda arm: False
                    for arm, seed, swept in self.waiting.release(scoring, lost):
                        yield self.failed(arm, seed, cell_name(arm, seed, swept, purpose), outcome)
                case Restoring(name):
                    _value(outcome)
                    self.starts.restoring.remove(name)
                    self.waiting.release(name)
                case Cell() as cell if outcome.error is None:
                    yield self.done(cell, *outcome.value)
                case cell:
                    yield self.failed(cell.arm, cell.seed, cell.name, outcome, cell.definition)
            yield from self.submit_ready(executor, purpose, sets)

    def blocker(self, arm: Arm, seed: int) -> Scoring | str | None:
        """What a cell waits for: scores of key words, or the cell (by name) from whose student it begins."""
        return self.scores.blocker(arm, seed) or self.starts.blocker(arm, seed, self.records)

    def submit_ready(self, executor: Executor, purpose: str, sets: tuple[QuestionSet, ...]) -> Iterator[JsonObject]:
        """Queue missing cells that wait for nothing and that no other shard is making; yield finished ones."""
        while (planned := self.waiting.next()) is not None:
            arm, seed, swept = planned
            start = None if arm.start is None else self.records[cell_name(arm.start, seed, (), "compare")]
            if start is not None and "error" in start:
                lost = Outcome(None, error=f"{start['cell']}, from whose student it begins, failed")
                yield self.failed(arm, seed, cell_name(arm, seed, swept, purpose), lost)
                continue
            cell = self.cell(arm, seed, swept, purpose, sets)
            if not self.claims.take(cell.key):
                continue
            stored = self.finished(cell.key, not self.config.allow_divergence)
            if stored is None and cell.start is not None and not (cell.start.run(self.out) / "student").is_dir():
                self.starts.restoring.add(cell.start.name)
                executor.submit([Task(Restoring(cell.start.name), restore_cell, (cell.start,), together=True)])
                self.waiting.again()
                continue
            if self.config.explain:
                say(self.store.explain(cell.name, cell.definition))
            if stored is None:
                executor.submit([Task(cell, run_cell, (cell, sets), together=True)])
                continue
            self.claims.give_back(cell.key)
            if "error" in stored:
                warn(f"{cell.name}: {stored['error']}")
                yield self.take(stored, None)
            else:
                yield self.done(cell, stored)

    def done(self, cell: Cell, record: JsonObject, seconds: dict[str, float] | None = None) -> JsonObject:
        """A cell is done (`seconds`: just now): store its record, remove students that are no longer needed."""
        taken = self.take(record, None if seconds is None else cell.definition, seconds)
        for dropped in self.starts.droppable(cell, self.keeping.done(cell, record)):
            slim = without_student(self.records[dropped.name])
            if slim != self.records[dropped.name] and self.claims.take(dropped.key):
                self.take(slim, dropped.definition)
            drop_student(dropped.run(self.out))
        return {**taken, **self.records[cell.name]}

    def finished(self, key: str, diverged: bool = False) -> JsonObject | None:
        """The record of a finished and unchanged cell; where files were changed, warns, and the cell is run again."""
        record = self.store.finished(key, diverged)
        if record is None or "error" in record:
            return record
        broken = damaged(self.out, record)
        if broken:
            more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
            warn(f"{record['cell']}: {broken[0]}{more} changed since the cell was run; running it again")
            set_aside(self.out, run_of(self.out, record), broken)
            return None
        return record

    def failed(
        self, arm: Arm, seed: int, name: str, outcome: Outcome, about: dict[str, Any] | None = None
    ) -> JsonObject:
        """Record a failure; the other cells go on."""
        warn(f"{name}: {outcome.error}")
        return self.take(
            {
                "cell": name,
                "arm": arm.label,
                "role": "control" if arm.is_control else "strategy",
                "seed": seed,
                **({"diverged": True} if outcome.diverged else {}),
                "error": outcome.error,
            },
            about,
        )

    def cell(self, arm: Arm, seed: int, swept: Swept, purpose: str, sets: Sequence[QuestionSet]) -> Cell:
        """A cell with its definition; the one that it begins from, if any, is finished."""
        config, reasons = self.plan.training(arm)
        settings = self.plan.distilled(arm, seed, self.steps[arm.label], swept)
        if self.config.budget != "steps" and settings.batch_size != config.batch_size:  # swept: as many examples
            steps = max(1, round(self.steps[arm.label] * config.batch_size / settings.batch_size))
            settings = settings.model_copy(update={"steps": steps})
        start = None
        if arm.start is not None:
            start = self.cell(arm.start, seed, self.chosen[arm.start.label], "compare", sets)
            settings = settings.model_copy(update={"start": start.run(self.out)})
        about = {
            "training": definition(settings, arm.variant.made, self.digests[arm.label], self.plan.dev),
            "evaluation": self.plan.evaluation(sets),
        }
        tried = candidates(self.config.sweep)
        return Cell(arm, seed, swept, purpose, settings, reasons, about, tried.index(swept) if tried else 0, start)

    def take(
        self, record: JsonObject, about: Mapping[str, Any] | None, seconds: dict[str, float] | None = None
    ) -> JsonObject:
        """Store a record (`about`: its definition, where it is new); the returned one has its measured seconds."""
        if about is not None:
            self.store.put(record["cell"], about, record)
            self.claims.give_back(json_digest(about))
        self.records[record["cell"]] = record
        self.waiting.release(record["cell"])
        self.tracking.cell(record)
        return {**record, "seconds": seconds} if seconds else record

    def leave(self, mine: Sequence[str], cells: int) -> None:
        """Report what a shard has left to others."""
        elsewhere = sum(name not in self.records for name in mine)
        say(
            f"shard {self.config.shard}: {len(mine) - elsewhere} of {cells} cells are done here"
            + (f", {elsewhere} of its own are being made by another process" if elsewhere else "")
            + "; when all shards have finished, run the same command without --shard for the report"
        )

    def report(self) -> None:
        """Write cells.jsonl, the comparisons, the pages, and the digests of everything they rest on."""
        order = [name for name, *_ in references(self.plan)] + [
            cell_name(arm, seed, (), "compare") for arm in self.arms for seed in self.config.seeds
        ]
        records = [self.records[name] for name in order]
        write_lines(self.out / "cells.jsonl", records)
        for chosen in self.plan.sets:
            write_text(
                self.out / "questions" / f"{chosen.name}.jsonl",
                "".join(example.line() + "\n" for example in chosen.examples()),
            )
        description = describe_grid(self.plan, self.rows, self.swept, self.chosen, self.steps, self.overlap)
        description.write(self.out)
        self.tracking.comparison(write_report(self.out, self.out, description, records, made_line()))
        compared = {run_of(self.out, record) for record in records if "run_key" in record}
        self.scores.drop_students(compared)
        write_digests(self.out, records)
        say(f"report: {self.out / 'report.html'}")


def _value(outcome: Any) -> Any:
    if outcome.error is not None:
        failure = CotdistillError(outcome.error)
        failure.code = outcome.code
        raise failure
    return outcome.value

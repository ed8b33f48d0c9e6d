"""`cotdistill ablate`: a grid of strategies, parameters and seeds on the same rows, compared in one report.

    rows        elicited, or given; one file a teacher decoding, the questions every arm can use
    references  the teacher and the untrained student answer the evaluation sets
    budget      how many steps each arm gets
    sweep       each arm's learning rate, or what else is swept, chosen on dev rows
    cells       arms x seeds, trained and evaluated by warm workers; what is finished is not done again
    report      comparisons, tables and figures from the stored predictions
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from cotdistill.config import AblateConfig, DistillConfig
from cotdistill.console import say, warn
from cotdistill.data.files import check_folder, json_digest, write_text
from cotdistill.data.lock import locked_folder
from cotdistill.data.records import digest
from cotdistill.data.runcard import refuse_foreign
from cotdistill.errors import CotdistillError, UsageError
from cotdistill.grid.arms import Arm, arms, baseline, settled
from cotdistill.grid.attributions import Scoring, score_rows, scorings
from cotdistill.grid.axes import Swept, candidates, said
from cotdistill.grid.budgets import Load, Taught, budget_steps, needs_loads, steps_of
from cotdistill.grid.cells import Cell, CellStore, Record, cell_name, run_folder
from cotdistill.grid.crews import crew_for
from cotdistill.grid.description import describe
from cotdistill.grid.digests import damaged, run_of, set_aside, write_digests
from cotdistill.grid.estimate import estimate
from cotdistill.grid.keeping import Keeping, drop, kept, without_student
from cotdistill.grid.plan import Plan, bad_rows, plan_of
from cotdistill.grid.preparation import check_models, choose_rows, is_that_file, references, row_tasks
from cotdistill.grid.room import check_room, footprints
from cotdistill.grid.rows import training_rows
from cotdistill.grid.sets import QuestionSet, dev_set, overlaps
from cotdistill.grid.shards import POLL, Claims, Shard
from cotdistill.grid.watching import Watched
from cotdistill.grid.workers import Crew, Outcome, Task
from cotdistill.grid.workshop import Workshop, measure, run_cell
from cotdistill.report.ablation import made_line, write_lines, write_report
from cotdistill.run_key import definition
from cotdistill.strategies.join import join


def ablate(config: AblateConfig, rows: str | None, dry_run: bool = False) -> Iterator[Record]:
    """Run what is missing of a grid, yield each cell's record as it is done (failed: with its error), write the report.

    `rows`: elicited rows, `-` for stdin; None elicits on `--train`, by default the embedded world.
    """
    config, study = settled(config)
    made = arms(config)
    candidates(config)  # complains
    base = baseline(config, made)
    say(f"{len(made)} arms x {len(config.seeds)} seeds = {len(made) * len(config.seeds)} cells, against {base.label}: "
        + ", ".join(arm.label for arm in made))
    grid = Grid(plan_of(config, study, made, base, rows))
    grid.read_questions()
    if dry_run:
        estimate(grid.plan, grid.store)
        return
    if config.measure:
        raise UsageError("--measure changes nothing without --dry-run")
    check_models(grid.plan)
    check_room(grid.plan, footprints(grid.plan))
    check_folder(grid.out)
    if not config.overwrite:
        refuse_foreign(grid.out, GRID)
    with locked_folder(grid.out, shared=config.shard is not None):
        crew = Watched(crew_for(config, partial(Workshop, config, grid.out),
                                -(-len(made) * len(config.seeds) // grid.shard.of)))
        try:
            yield from grid.run(crew)
        finally:
            crew.close()
            grid.claims.close()


GRID = ("ablation.json", "cells", "references", "rows")  # what a grid writes before anything else
Wanted = tuple[Arm, int, Swept]  # arm, seed, a candidate of the sweep


class Grid:
    """One ablation on its way from rows to report; everything lies under `out`."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.config, self.arms, self.out = plan, plan.config, plan.arms, plan.out
        self.store = CellStore(self.out)
        self.shard, self.claims = Shard.parse(self.config.shard), Claims(self.store.folder, bool(self.config.shard))
        self.records: dict[str, Record] = {}
        self.swept: dict[str, dict[str, float | None]] = {}
        self.chosen: dict[str, Swept] = {}
        self.keeping = Keeping(self.config, self.out)

    def run(self, crew: Crew) -> Iterator[Record]:
        """Every stage; of a shard, its part of the cells, and no report."""
        with self.claims.alone("rows", "the rows"):  # made once, by the first shard to come
            crew.submit(list(row_tasks(self.plan, self.store)))
            if not self.claims.several:
                yield from self.submit_references(crew)
            yield from self.prepare(crew)
            self.rows = choose_rows(self.plan)
            self.overlap = overlaps(self.plan.sets, self.rows)
            self.digests = {arm.label: digest(training_rows(self.rows, arm, self.config.data_seed))
                            for arm in self.arms}
            self.taught = {arm.label: self._taught(arm) for arm in self.arms}
            self.scorings = [one for one in scorings(self.arms) if self._unscored(one)]
            if needs_loads(self.config) or self.claims.several:
                self.finish_scores(crew)  # key words must be known before their tokens can be counted
            dev = self.dev() if self.config.sweep else ()
        self.steps = self.budget(crew)
        cells = [(arm, seed) for arm in self.arms for seed in self.config.seeds]
        mine = self.shard.part(cells)
        self.chosen = self.sweep(crew, [arm for arm in self.arms if any(arm is one for one, _ in mine)], dev)
        if self.claims.several:
            yield from self.submit_references(crew)
            yield from self.prepare(crew)
        yield from self.run_cells(crew, [(arm, seed, self.chosen[arm.label]) for arm, seed in mine], "compare",
                                  self.plan.sets)
        if self.claims.several:
            self.leave([cell_name(arm, seed, (), "compare") for arm, seed in mine], len(cells))
        else:
            self.report()

    def read_questions(self) -> None:
        """Complain about question sets that cannot be read before anything is done."""
        for chosen in self.plan.sets:
            chosen.examples()
        if self.config.sweep and self.config.dev is not None:
            dev_set(self.config.dev, None, (), self.out, self.config.data_seed, self.config.map,
                    bad_rows(self.config)).examples()

    def submit_references(self, crew: Crew) -> Iterator[Record]:
        """Put the references of this shard in line; yield what is finished."""
        for name, about, task in self.shard.part(list(references(self.plan))):
            if not self.claims.take(json_digest(about)):
                continue
            stored = self.finished(json_digest(about))
            if stored is None:
                crew.submit([Task((name, about), *task)])
            else:
                self.claims.give_back(json_digest(about))
                yield self.take(stored, None)

    def prepare(self, crew: Crew) -> Iterator[Record]:
        """Make the rows and the references that are in line."""
        for outcome in crew.outcomes():
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

    def budget(self, crew: Crew) -> dict[str, int]:
        """{label: optimizer steps}."""
        loads: dict[str, Load] = {}
        if needs_loads(self.config):
            crew.submit([Task(arm.label, measure, (arm, self.plan.distilled(arm, 0, 1))) for arm in self.arms])
            loads = {outcome.about: _value(outcome) for outcome in crew.outcomes()}
        configs = {arm.label: self.plan.training(arm)[0] for arm in self.arms}
        return budget_steps(configs, self.plan.base.label, self.taught, loads)

    def _taught(self, arm: Arm) -> Taught:
        """How much an arm trains on."""
        joined = join(training_rows(self.rows, arm, self.config.data_seed), arm.variant.made)[0]
        return Taught(len({sample.id for sample in joined}), len(joined))

    def dev(self) -> tuple[QuestionSet, ...]:
        """Where candidates are judged."""
        return (dev_set(self.config.dev, self.plan.train, self.rows.dev(), self.out, self.config.data_seed,
                        self.config.map, bad_rows(self.config)),)

    def sweep(self, crew: Crew, swept: Sequence[Arm], dev: tuple[QuestionSet, ...]) -> dict[str, Swept]:
        """{label: the candidate that is best on dev rows, with the first seed}; of equals the smallest."""
        tried = candidates(self.config)
        if not tried:
            return {arm.label: () for arm in swept}
        wanted = [(arm, self.config.seeds[0], one) for arm in swept for one in tried]
        for _ in self.run_cells(crew, self.shard.part(wanted), "sweep", dev):
            pass
        self.await_candidates(crew, wanted, dev)
        found: dict[str, dict[Swept, float | None]] = {arm.label: {} for arm in swept}
        for arm, seed, one in wanted:
            sets = self.records[cell_name(arm, seed, one, "sweep")].get("sets")
            found[arm.label][one] = sets[dev[0].name]["accuracy"] if sets else None
        self.swept = {label: {", ".join(said(one)): accuracy for one, accuracy in by.items()}
                      for label, by in found.items()}
        return {label: max(by, key=lambda one: by[one] or 0.0) for label, by in found.items()}

    def await_candidates(self, crew: Crew, wanted: Sequence[Wanted], dev: tuple[QuestionSet, ...]) -> None:
        """What other shards had to try: made here where nobody is at it, else waited for."""
        def missing() -> list[Wanted]:
            return [one for one in wanted if cell_name(*one, "sweep") not in self.records]

        while left := missing():
            for at in range(0, len(left), crew.size):
                for _ in self.run_cells(crew, left[at : at + crew.size], "sweep", dev):
                    pass
            if len(missing()) == len(left):
                time.sleep(POLL)

    def run_cells(self, crew: Crew, wanted: Sequence[Wanted], purpose: str,
                  sets: tuple[QuestionSet, ...]) -> Iterator[Record]:
        """Records of all cells: finished ones from the store, the others from the workers.

        Cells that wait for the scores of key words begin when these are there.
        """
        self.submit_scores(crew)
        waiting = [one for one in wanted if self.waits(one[0], one[1])]
        yield from self.submit_cells(crew, [one for one in wanted if one not in waiting], purpose, sets)
        for outcome in crew.outcomes():
            if isinstance(outcome.about, Scoring):
                self.scored(outcome)
                ready = [one for one in waiting if not self.waits(one[0], one[1])]
                waiting = [one for one in waiting if one not in ready]
                failed = [one for one in ready if outcome.error and one[0] in self.readers(outcome.about)]
                for arm, seed, swept in failed:
                    yield self.failed(arm, seed, cell_name(arm, seed, swept, purpose), outcome)
                yield from self.submit_cells(crew, [one for one in ready if one not in failed], purpose, sets)
            elif outcome.error is None:
                yield self.done(outcome.about, *outcome.value)
            else:
                cell = outcome.about
                yield self.failed(cell.arm, cell.seed, cell.name, outcome, cell.definition)

    def submit_cells(self, crew: Crew, wanted: Sequence[Wanted], purpose: str,
                     sets: tuple[QuestionSet, ...]) -> Iterator[Record]:
        """Put what is missing in line, but for what another shard is making; yield what is finished."""
        for arm, seed, swept in wanted:
            cell = self.cell(arm, seed, swept, purpose, sets)
            if not self.claims.take(cell.key):
                continue
            if self.config.explain:
                say(self.store.explain(cell.name, cell.definition))
            stored = self.finished(cell.key, not self.config.allow_divergence)
            if stored is None:
                crew.submit([Task(cell, run_cell, (cell, sets), together=True)])
                continue
            self.claims.give_back(cell.key)
            if "error" in stored:
                warn(f"{cell.name}: {stored['error']}")
                yield self.take(stored, None)
            else:
                yield self.done(cell, stored)

    def done(self, cell: Cell, record: Record, seconds: dict[str, float] | None = None) -> Record:
        """A cell has answered everything (`seconds`: just now): its record is kept, students of no more use go."""
        taken = self.take(record, None if seconds is None else cell.definition, seconds)
        for one in self.keeping.done(cell, record):
            slim = without_student(self.records[one.name])
            if slim != self.records[one.name] and self.claims.take(one.key):
                self.take(slim, one.definition)
            drop(one.run(self.out))
        return {**taken, **self.records[cell.name]}

    def finished(self, key: str, diverged: bool = False) -> Record | None:
        """The record of what is finished and still is what it was; what is damaged is said and made again."""
        record = self.store.finished(key, diverged)
        if record is None or "error" in record:
            return record
        found = damaged(self.out, record)
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            warn(f"{record['cell']}: {found[0]}{more} changed since the cell was made; it is made again")
            set_aside(self.out, run_of(self.out, record), found)
            return None
        return record

    def submit_scores(self, crew: Crew) -> None:
        """Attributions first: cells wait for them."""
        crew.submit([Task(one, score_rows, (one, self._asked_for_scores(one), self.plan.attributed_teacher),
                          together=True)
                     for one in self.scorings])

    def _asked_for_scores(self, scoring: Scoring) -> DistillConfig:
        """How the student is trained that is asked: as the cell of the same arm, where no token must be counted to
        know its steps."""
        config, _ = self.plan.training(scoring.trains)
        base = self.plan.training(self.plan.base)[0]
        if needs_loads(config):
            config = config.model_copy(update={"budget": "steps"})
        steps = steps_of(config, base, self._taught(scoring.trains), self.taught[self.plan.base.label],
                         self.taught.values())
        return self.plan.distilled(scoring.trains, self.config.seeds[0], steps)

    def _of_scores(self, scoring: Scoring) -> dict[str, Any]:
        """What defines a sidecar: the very run that is asked."""
        arm = scoring.trains
        rows = digest(training_rows(self.rows, arm, self.config.data_seed))
        return {"by": scoring.by, "teacher": self.plan.attributed_teacher,
                "asked": definition(self._asked_for_scores(scoring), arm.variant.made, rows, self.plan.dev)}

    def _unscored(self, scoring: Scoring) -> bool:
        """Whether a sidecar is missing; one that was made otherwise is removed."""
        path = scoring.file(self.out)
        if is_that_file(path, self.store.finished(json_digest(self._of_scores(scoring)))):
            return False
        path.unlink(missing_ok=True)
        return True

    def finish_scores(self, crew: Crew) -> None:
        """Wait for every attribution."""
        self.submit_scores(crew)
        for outcome in crew.outcomes():
            _value(outcome)
            self.scored(outcome)

    def scored(self, outcome: Outcome) -> None:
        """An attribution is over."""
        self.scorings.remove(outcome.about)
        if outcome.error is None:
            self.store.put(f"scores/{outcome.about.file(self.out).name}", self._of_scores(outcome.about),
                           outcome.value[0])

    def waits(self, arm: Arm, seed: int) -> bool:
        """Whether a cell reads scores that are being made, or is the very run that is asked for them."""
        return any(arm in self.readers(one) or (arm.label == one.trains.label and seed == self.config.seeds[0])
                   for one in self.scorings)

    def readers(self, scoring: Scoring) -> list[Arm]:
        """The arms that read these scores."""
        return [arm for arm in self.arms if scorings([arm]) == [scoring]]

    def failed(self, arm: Arm, seed: int, name: str, outcome: Outcome, about: dict[str, Any] | None = None) -> Record:
        """Record a failure; the other cells go on."""
        warn(f"{name}: {outcome.error}")
        return self.take({"cell": name, "arm": arm.label, "role": "control" if arm.is_control else "strategy",
                          "seed": seed, **({"diverged": True} if outcome.diverged else {}), "error": outcome.error},
                         about)

    def cell(self, arm: Arm, seed: int, swept: Swept, purpose: str, sets: Sequence[QuestionSet]) -> Cell:
        """A cell with its definition."""
        config, reasons = self.plan.training(arm)
        settings = self.plan.distilled(arm, seed, self.steps[arm.label], swept)
        if self.config.budget != "steps" and settings.batch_size != config.batch_size:  # swept: as many examples
            steps = max(1, round(self.steps[arm.label] * config.batch_size / settings.batch_size))
            settings = settings.model_copy(update={"steps": steps})
        about = {"training": definition(settings, arm.variant.made, self.digests[arm.label], self.plan.dev),
                 "evaluation": self.plan.evaluation(sets)}
        tried = candidates(self.config)
        return Cell(arm, seed, swept, purpose, settings, reasons, about, tried.index(swept) if tried else 0)

    def take(self, record: Record, about: Mapping[str, Any] | None, seconds: dict[str, float] | None = None) -> Record:
        """Keep a record (`about`: its definition, where it is new); what is yielded has its measured seconds."""
        if about is not None:
            self.store.put(record["cell"], about, record)
            self.claims.give_back(json_digest(about))
        self.records[record["cell"]] = record
        return {**record, "seconds": seconds} if seconds else record

    def leave(self, mine: Sequence[str], cells: int) -> None:
        """What a shard says at its end."""
        elsewhere = sum(name not in self.records for name in mine)
        say(f"shard {self.config.shard}: {len(mine) - elsewhere} of {cells} cells are done here"
            + (f", {elsewhere} of its own are being made by another process" if elsewhere else "")
            + "; when all shards are through, the same command without --shard writes the report")

    def report(self) -> None:
        """cells.jsonl, the comparisons, the pages, and the digests of everything they stand on."""
        order = [name for name, *_ in references(self.plan)] + [
            cell_name(arm, seed, (), "compare") for arm in self.arms for seed in self.config.seeds]
        records = [self.records[name] for name in order]
        write_lines(self.out / "cells.jsonl", records)
        for chosen in self.plan.sets:
            write_text(self.out / "questions" / f"{chosen.name}.jsonl",
                       "".join(example.line() + "\n" for example in chosen.examples()))
        description = describe(self.plan, self.rows, self.swept, self.chosen, self.steps, self.overlap)
        description.write(self.out)
        write_report(self.out, self.out, description, records, made_line())
        self.drop_asked()
        write_digests(self.out, records)
        say(f"report: {self.out / 'report.html'}")

    def drop_asked(self) -> None:
        """Students that were trained for nothing but the scores of key words go too."""
        compared = {self.cell(arm, seed, self.chosen[arm.label], "compare", ()).run(self.out) for arm in self.arms
                    for seed in self.config.seeds}
        for scoring in scorings(self.arms):
            settings = self._asked_for_scores(scoring)
            run = run_folder(self.out, scoring.trains, self._of_scores(scoring)["asked"])
            if kept(self.config, settings) != "all" and run not in compared:
                drop(run)


def _value(outcome: Any) -> Any:
    if outcome.error is not None:
        failure = CotdistillError(outcome.error)
        failure.code = outcome.code
        raise failure
    return outcome.value

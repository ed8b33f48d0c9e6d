"""`cotdistill elicit`: question rows in, elicited rows out.

Existing rationales are read and judged; others are requested call by call,
each one journalled before the next counts (`data.journal`), so that running the same command again resumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cotdistill.config import ElicitConfig
from cotdistill.config.server import PREFIX
from cotdistill.console import emit, progress, say
from cotdistill.data.files import check_file, regular_file, write_lines
from cotdistill.data.journal import SERVED, FinishedCall, Journal, finished_rows, holds_rows, rationale_key
from cotdistill.data.lock import locked_file
from cotdistill.data.records import Example, Item
from cotdistill.data.tasks import load_examples, shard_of
from cotdistill.errors import NothingLeft, Partial, UsageError
from cotdistill.strategies import registry
from cotdistill.students.places import at_revision
from cotdistill.teachers.calls import Call, Reply, Teacher
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.dry_run import report_dry_run
from cotdistill.teachers.filters import item_of, kept_whole, labelled_rationale
from cotdistill.teachers.mixing import refuse_mixing
from cotdistill.teachers.planning import Planner
from cotdistill.teachers.plugin import open_plugin_teacher, registered_teacher
from cotdistill.teachers.processes import ProcessGroup
from cotdistill.teachers.reasoning import split_reasoning
from cotdistill.teachers.recorded import ROWS, replayed, replays
from cotdistill.teachers.yields import Bill, Yield

if TYPE_CHECKING:
    from cotdistill.teachers.sidecar import Sidecar


def elicit(config: ElicitConfig, dry_run: bool = False) -> None:
    """Elicit rationales and write one item per question to `config.out`, else to stdout with its end line.

    Raises `Partial` where calls failed (the rows are written nevertheless), `NothingLeft` where no rationale of any row
    can be learned from, `KeyboardInterrupt` after Ctrl-C, with all that was finished in the journal.
    """
    config = resolve(config)
    if config.out is not None:
        check_file(config.out)
    processes = ProcessGroup()
    pool = processes.broadcast(load_pool(config) if processes.rank == 0 else None)
    examples = shard_of(pool[: config.limit], config.shard)
    writes = processes.rank == 0 and not dry_run
    with locked_file(config.out) if config.out is not None and writes else nullcontext():
        if replays(config.teacher):
            items, kept = replayed(config, examples), kept_rows(config.out, config.overwrite)
            if config.out is None or kept is not None:  # nothing is written before all of it is known
                items = list(items)
            if kept is not None and (lost := lost_rows(kept, items, config.repair)):
                raise UsageError(
                    f"{config.out} holds {len(lost)} rows that this command would not produce, such as {lost[0]!r}; "
                    "choose another --out, or replace it with --overwrite"
                )
            write(config.out, items, config.keep)
            return
        ask(config, examples, pool, processes, dry_run)
    processes.close()


def load_pool(config: ElicitConfig) -> list[Example]:
    """Every row of the data set: wrong answers to free questions are drawn from all of them."""
    return load_examples(config.data, config.split, None, config.data_seed, config.map, config)


def kept_in(out: Path | None, overwrite: bool) -> Path | None:
    """The file that holds finished rows and has a journal beside it; None for a pipe, a device and stdout.

    Raises `UsageError` where it holds something else, which is not ours to replace unless `--overwrite` says so.
    """
    file = None if out is None else regular_file(out)
    if file is not None and file.exists() and not overwrite and not holds_rows(file):
        raise UsageError(f"{out} was not written by this command; choose another --out, or replace it with --overwrite")
    return file


def kept_rows(out: Path | None, overwrite: bool) -> Path | None:
    """The file that holds rows which must not be lost."""
    file = kept_in(out, overwrite)
    return file if file is not None and file.exists() and not overwrite else None


def lost_rows(file: Path, items: Iterable[Item], repair: bool) -> list[str]:
    """The ids of a file's rows that `items` lack, or of which they lack a rationale."""
    new = {row.id: {rationale_key(row, rationale) for rationale in row.rationales} for row in items}
    return [
        row.id
        for row in finished_rows(file, repair)
        if row.id not in new or not {rationale_key(row, rationale) for rationale in row.rationales} <= new[row.id]
    ]


def resolve(config: ElicitConfig) -> ElicitConfig:
    """The configuration with what `--for STRATEGY` needs, and impossible combinations refused."""
    if config.for_ is not None:
        kinds = {kind for kind, _ in registry.create(config.for_).needs()}
        if "counterfactual" in kinds:
            config = config.model_copy(update={"counterfactual": True})
    if config.revision is not None and (config.teacher == ROWS or ":" in config.teacher):
        raise UsageError(f"--revision {config.revision}: only hub models have revisions, {config.teacher} is not one")
    config = config.model_copy(update={"teacher": at_revision(config.teacher, config.revision), "revision": None})
    refuse_unscored(config)
    if replays(config.teacher) and config.decode != "greedy":
        raise UsageError(f"--decode {config.decode}: recorded rationales cannot be decoded again; omit it")
    if config.teacher.startswith(PREFIX) and config.decode == "contrastive":
        raise UsageError(
            "--decode contrastive needs the probabilities of every token, which servers do not return; use --decode "
            "rerank (the best of K samples by the contrastive score), or a local model"
        )
    if config.contrasts and config.hint == "none":
        raise UsageError(f"--decode {config.decode} compares two hinted prompts; omit --hint none")
    if config.samples > 1 and config.decode not in ("sample", "rerank"):
        raise UsageError(
            f"--samples {config.samples} needs --decode sample (or rerank): "
            f"{config.decode} decoding gives the same rationale every time"
        )
    return config


def refuse_unscored(config: ElicitConfig) -> None:
    """Raise `UsageError` where --logprobs has no model to score with, or no file to lie beside."""
    if config.logprobs is None:
        return
    if replays(config.teacher) or registered_teacher(config.teacher) is not None:
        what = f"--logprobs {config.logprobs}: {config.teacher} gives no distribution over its vocabulary"
        raise UsageError(f"{what}; use a Hugging Face teacher, or a server")
    if config.teacher.startswith(PREFIX) and config.tokenizer is None:
        raise UsageError("--logprobs of a server are stored as a tokenizer's ids; name its model's with --tokenizer")
    if config.out is None or regular_file(config.out) is None:
        raise UsageError("--logprobs writes a file beside --out; name one")


def ask(
    config: ElicitConfig, examples: Sequence[Example], pool: Sequence[Example], processes: ProcessGroup, dry_run: bool
) -> None:
    """Ask a model for rationales: every call is answered once, or fails with its reason."""
    teacher = open_teacher(config, dry_run)
    planner = Planner.of(config, teacher, examples, lambda: pool)
    if dry_run:  # only the teacher knows which wrong answer is the hardest, and it is not asked
        dry = config if config.wrong != "hardest" else config.model_copy(update={"wrong": "random"})
        report_dry_run(config, teacher, replace(planner, config=dry).calls(examples, pool))
        return
    calls = planner.calls(examples, pool)
    file = kept_in(config.out, config.overwrite)
    foreign = file is not None and file.exists() and not holds_rows(file)
    journal = Journal(file, processes.rank, config.repair, fresh=foreign)
    rows, sidecar = Elicitation(examples, calls, journal, teacher.name, config), _sidecar(config, teacher)
    waiting: list[str] | None = None
    if processes.rank == 0:
        if not config.overwrite:
            refuse_mixing(journal, calls, rows.calls, teacher.name, config.mix)
        if sidecar is not None and config.teacher.startswith(PREFIX):
            sidecar.check_told(rows.calls, journal.entries, config.overwrite)
        waiting = rows.waiting()
    mine = processes.broadcast(waiting)[processes.rank :: processes.size]
    answer([rows.calls[key] for key in mine], teacher, rows)
    gathered = processes.gather(journal.entries)
    if processes.rank == 0:
        for entries in gathered:
            journal.entries.update(entries)
        if sidecar is not None:
            sidecar.store(rows.calls, journal.entries, rows.others())
        rows.finish()


def answer(calls: Sequence[Call], teacher: Teacher, rows: Elicitation) -> None:
    """Make every call that is still open; Ctrl-C finishes those under way and ends."""
    with Drain() as drain, progress("elicit", len(calls)) as advance:

        def deliver(call: Call, reply: Reply) -> None:
            rows.add(call, reply)
            advance(1, "")

        if calls:
            teacher.ask(calls, deliver, drain)
    if drain.asked:
        rows.interrupted()
        raise KeyboardInterrupt


class Elicitation:
    """Calls turning into rows: journalled as they come, written in the order of the questions."""

    def __init__(
        self, examples: Sequence[Example], calls: Sequence[Call], journal: Journal, teacher: str, config: ElicitConfig
    ) -> None:
        self.examples, self.journal, self.teacher, self.config = examples, journal, teacher, config
        self.keys: dict[str, list[str]] = {example.id: [] for example in examples}
        self.calls = {call.key(teacher): call for call in calls}
        for key, call in self.calls.items():
            self.keys[call.example.id].append(key)
        self.asked: list[str] = []
        self.streamed = 0

    def waiting(self) -> list[str]:
        """Keys of the calls still to be made; says how many are done."""
        done = [key for key in self.calls if key in self.journal.entries]
        failed = [key for key in done if self.journal.entries[key].failed is not None]
        if self.config.retry_failed:
            for key in failed:
                del self.journal.entries[key]
        if done:
            tail = f", {len(failed)} of them failed" if failed else ""
            if failed:
                tail += " and asked again" if self.config.retry_failed else " (--retry-failed asks again)"
            say(f"{len(done)}/{len(self.calls)} calls done{tail}")
        self.asked = [key for key in self.calls if key not in self.journal.entries]
        return self.asked

    def add(self, call: Call, reply: Reply) -> None:
        """Judge and journal one reply; rows that are complete go to stdout at once."""
        self.journal.add(call.key(self.teacher), self._entry(call, reply))
        self.stream()

    def _entry(self, call: Call, reply: Reply) -> FinishedCall:
        if reply.failed is not None:
            return FinishedCall(call.example.id, failed=reply.failed)
        markers, text, more = self.config.reasoning_marker, reply.text, None
        if markers:
            more, text = split_reasoning(text, markers)
        rationale = labelled_rationale(
            call.example,
            call.kind,
            call.supports,
            text,
            teacher=self.teacher,
            decoding={**call.decoding, SERVED: dict(reply.served)} if reply.served else call.decoding,
            prompt=call.digest,
            finished=reply.finished,
            thoughts=(reply.reasoning or more) if self.config.reasoning == "rationale" else None,
        )
        tokens = (reply.prompt_tokens, reply.completion_tokens)
        return FinishedCall(call.example.id, rationale, None, tokens, reply.said)

    def stream(self) -> None:
        """Write rows to stdout, in order, as far as they are complete (a file is written at the end)."""
        if self.config.out is not None or ProcessGroup.many():
            return
        while self.streamed < len(self.examples):
            example = self.examples[self.streamed]
            if any(key not in self.journal.entries for key in self.keys[example.id]):
                return
            emit(self.item(example).model_dump(mode="json"))
            self.streamed += 1

    def item(self, example: Example) -> Item:
        """A row with all its rationales so far."""
        entries = [*self.others(example), *(self.journal.entries[key] for key in self.keys[example.id])]
        return item_of(
            example,
            [entry.rationale for entry in entries if entry.rationale],
            kept_whole(self.config.keep, self.config.only),
        )

    def others(self, *examples: Example) -> list[FinishedCall]:
        """What `--mix` leaves beside this command's own, of these rows or of all."""
        rows = (examples or self.examples) if self.config.mix else ()
        return [entry for example in rows for entry in self.journal.beside(example.id, self.calls)]

    def interrupted(self) -> None:
        """Close the journal after Ctrl-C and say how to resume."""
        self.journal.close()
        done = sum(key in self.journal.entries for key in self.calls)
        resume = "" if self.journal.out is None else "; the same command continues from there"
        say(f"{done}/{len(self.calls)} calls done{resume}")

    def finish(self) -> None:
        """Write the rows; the journal stays while failed calls wait for --retry-failed."""
        failures = [entry.failed for key in self.calls if (entry := self.journal.entries[key]).failed is not None]
        items = [self.item(example) for example in self.examples]
        try:
            write(
                self.config.out,
                items,
                self.config.keep,
                failures,
                self.streamed,
                Bill.of(
                    (self.journal.entries[key].tokens for key in self.asked),
                    self.config.price_in,
                    self.config.price_out,
                ),
            )
        except NothingLeft:  # the rows are written nevertheless
            self.journal.remove()
            raise
        self.journal.close()
        if failures:
            raise Partial(
                f"{len(failures)} calls failed, the first with: {failures[0]}; their rows were "
                "written without a rationale, and --retry-failed repeats the calls"
            )
        self.journal.remove()


def _sidecar(config: ElicitConfig, teacher: Teacher) -> Sidecar | None:
    """The file of distributions, where one is asked for."""
    if config.logprobs is None or config.out is None:
        return None
    from cotdistill.teachers.sidecar import Sidecar  # imports numpy and safetensors

    return Sidecar.of(config.out, config.logprobs, teacher)


def open_teacher(config: ElicitConfig, dry_run: bool = False) -> Teacher:
    """The teacher that `--teacher` names; a dry run loads no weights."""
    if config.teacher.startswith(PREFIX):
        from cotdistill.teachers.openai_server import OpenAITeacher

        return OpenAITeacher(config)
    if (entry := registered_teacher(config.teacher)) is not None:
        return open_plugin_teacher(entry, config)
    from cotdistill.teachers.huggingface import HuggingFaceTeacher

    return HuggingFaceTeacher(config, weights=not dry_run)


def write(
    out: Path | None,
    items: Iterable[Item],
    keep: str,
    failures: Sequence[str | None] = (),
    streamed: int = 0,
    bill: Bill | None = None,
) -> None:
    """All items to a file, whole or not at all, or to stdout, where an end line shows that none is missing.

    Then the yield tables on stderr; raises `NothingLeft` where nothing can be learned from.
    """
    found = Yield()
    if out is not None:
        write_lines(out, (item.line() for item in found.counted(items)))
    else:
        for at, item in enumerate(found.counted(items)):
            if at >= streamed:
                emit(item.model_dump(mode="json"))
        emit({"end": {"rows": found.rows, "failed": len(failures)}})
    found.show(len(failures), bill)
    if not failures and not found.usable:
        raise NothingLeft(
            f"none of the rationales of {found.rows} rows is usable for training; the table above says why"
            + ("" if keep == "all" else " (--keep all keeps wrong ones too)")
        )

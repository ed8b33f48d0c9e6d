"""`cotdistill elicit`: question rows in, each with its teacher's rationales out.

A command of two routes: rationales that exist are read and judged; all others are asked for, call by call,
each one journalled before the next counts (`data.journal`), so that running the same command again resumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from cotdistill.config import ElicitConfig
from cotdistill.console import emit, progress, say, warn_once
from cotdistill.data.columns import Columns
from cotdistill.data.files import check_file, regular_file, write_text
from cotdistill.data.importers import read_recordings
from cotdistill.data.journal import SERVED, Entry, Journal, finished_rows, holds_rows, rationale_key
from cotdistill.data.lock import locked_file
from cotdistill.data.records import Example, Item, Rationale
from cotdistill.data.tasks import load_examples, training_rows
from cotdistill.errors import NothingLeft, Partial, UsageError
from cotdistill.strategies import registry
from cotdistill.students.places import at_revision
from cotdistill.teachers.calls import Call, Reply, Teacher
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.dry_run import describe
from cotdistill.teachers.filters import judged, relabel
from cotdistill.teachers.mixing import refuse_mixing
from cotdistill.teachers.planning import plan
from cotdistill.teachers.processes import Processes
from cotdistill.teachers.prompts import PromptTemplate
from cotdistill.teachers.reasoning import split_thoughts
from cotdistill.teachers.recorded import ROWS, from_recordings, from_row
from cotdistill.teachers.shots import Shots, choose_shots
from cotdistill.teachers.yields import Bill, yield_tables

RECORDED = "recorded:"


def elicit(config: ElicitConfig, dry_run: bool = False) -> None:
    """Elicit rationales and write one item a question to `config.out`, else to stdout with its end line.

    Raises `Partial` where calls failed (the rows are written all the same), `NothingLeft` where no rationale
    of any row can be learned from, `KeyboardInterrupt` after Ctrl-C, with all that was finished in the
    journal.
    """
    config = settled(config)
    if config.out is not None:
        check_file(config.out)
    processes = Processes()
    pool = processes.share(load_pool(config) if processes.rank == 0 else None)
    examples = shard_of(pool[: config.limit], config.shard)
    writes = processes.rank == 0 and not dry_run
    with locked_file(config.out) if config.out is not None and writes else nullcontext():
        if config.teacher == ROWS or config.teacher.startswith(RECORDED):
            items = recorded(config, examples)
            refuse_losing(config, items)
            write(config.out, items, config.keep)
            return
        ask(config, examples, pool, processes, dry_run)
    processes.close()


def load_pool(config: ElicitConfig) -> list[Example]:
    """Every row of the data set: wrong answers to free questions are drawn from all of them."""
    return load_examples(config.data, config.split, None, config.data_seed, config.map, config)


def kept_in(config: ElicitConfig) -> Path | None:
    """The file that holds finished rows and has a journal beside it; None for a pipe, a device and stdout.

    Raises `UsageError` where it holds something else, which is not ours to replace unless `--overwrite` says so.
    """
    file = None if config.out is None else regular_file(config.out)
    if file is not None and file.exists() and not config.overwrite and not holds_rows(file):
        raise UsageError(f"{config.out} holds something this command did not write; name another --out, or replace "
                         "it with --overwrite")
    return file


def refuse_losing(config: ElicitConfig, items: Sequence[Item]) -> None:
    """Raise `UsageError` where the file holds rows or rationales that are not among those to be written."""
    file = kept_in(config)
    if file is None or config.overwrite:
        return
    new = {row.id: {rationale_key(row, one) for one in row.rationales} for row in items}
    lost = [row.id for row in finished_rows(file, config.repair)
            if row.id not in new or not {rationale_key(row, one) for one in row.rationales} <= new[row.id]]
    if lost:
        raise UsageError(f"{config.out} holds {len(lost)} rows that this command does not make again, such as "
                         f"{lost[0]!r}; name another --out, or replace it with --overwrite")


def settled(config: ElicitConfig) -> ElicitConfig:
    """The configuration with what `--for STRATEGY` needs, and impossible combinations refused."""
    if config.for_ is not None:
        kinds = {kind for kind, _ in registry.create(config.for_).needs()}
        if "counterfactual" in kinds:
            config = config.model_copy(update={"counterfactual": True})
    if config.revision is not None and (config.teacher == ROWS or ":" in config.teacher):
        raise UsageError(f"--revision {config.revision}: a model of the hub has revisions, {config.teacher} has none")
    config = config.model_copy(update={"teacher": at_revision(config.teacher, config.revision), "revision": None})
    if config.contrasts and config.hint == "none":
        raise UsageError(f"--decode {config.decode} holds two hinted prompts against each other; "
                         "leave --hint none away")
    if config.samples > 1 and config.decode not in ("sample", "rerank"):
        raise UsageError(f"--samples {config.samples} needs --decode sample (or rerank): "
                         f"{config.decode} decoding gives the same rationale every time")
    return config


def shard_of(examples: Sequence[Example], shard: str | None) -> list[Example]:
    """Part I of N consecutive parts: the parts' files, one behind the other, are the whole file."""
    if shard is None:
        return list(examples)
    first, _, last = shard.partition("/")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UsageError(f"--shard takes I/N with I from 1 to N, such as 3/8, not {shard!r}")
    part, parts = int(first), int(last)
    return list(examples[len(examples) * (part - 1) // parts : len(examples) * part // parts])


def recorded(config: ElicitConfig, examples: Sequence[Example]) -> list[Item]:
    """Rationales that exist already, of a recording or of the rows themselves."""
    if config.teacher == ROWS:
        return [item_of(example, from_row(example), config.keep) for example in examples]
    found: list[list[Rationale]] = [[] for _ in examples]
    mapped = Columns.parse(config.map) if config.map is not None else None
    for name in config.teacher.removeprefix(RECORDED).split(","):
        recordings = read_recordings(Path(name), mapped if mapped and mapped.of_recordings else None, config)
        new = from_recordings(examples, recordings, config)
        say(f"{sum(map(bool, new))} of {len(examples)} questions have a recording in {recordings.file.name}")
        found = [before + after for before, after in zip(found, new, strict=True)]
    return [item_of(example, rationales, config.keep)
            for example, rationales in zip(examples, found, strict=True)]


def ask(config: ElicitConfig, examples: Sequence[Example], pool: Sequence[Example], processes: Processes,
        dry_run: bool) -> None:
    """Rationales asked of a model: every call answered once, or failed with its reason."""
    teacher = open_teacher(config, dry_run)
    template = PromptTemplate(config.prompt, teacher.style)
    shots = fitted(config, examples, teacher, template, choose_shots(
        config.shots, examples, lambda: training_rows(config.data, pool, config.data_seed, config.map),
        config.seed))
    if dry_run:  # which wrong answer is the hardest only the teacher knows, and it is not asked
        dry = config if config.wrong != "hardest" else config.model_copy(update={"wrong": "random"})
        describe(config, teacher, plan(dry, examples, pool, teacher, shots, template))
        return
    calls = plan(config, examples, pool, teacher, shots, template)
    file = kept_in(config)
    foreign = file is not None and file.exists() and not holds_rows(file)
    journal = Journal(file, processes.rank, config.repair, fresh=foreign)
    rows = Rows(examples, calls, journal, teacher.name, config)
    waiting: list[str] | None = None
    if processes.rank == 0:
        if not config.overwrite:
            refuse_mixing(journal, calls, rows.calls, teacher.name, config.mix)
        waiting = rows.waiting()
    mine = processes.share(waiting)[processes.rank :: processes.size]
    answer([rows.calls[key] for key in mine], teacher, rows, config)
    found = processes.gather(journal.entries)
    if processes.rank == 0:
        for entries in found:
            journal.entries.update(entries)
        rows.finish()


def answer(calls: Sequence[Call], teacher: Teacher, rows: Rows, config: ElicitConfig) -> None:
    """Ask the teacher everything that is still open; Ctrl-C keeps what is under way and ends."""
    with Drain() as drain, progress("elicit", len(calls)) as advance:

        def deliver(call: Call, reply: Reply) -> None:
            rows.add(call, reply)
            advance(1, "")

        if calls:
            teacher.ask(calls, deliver, drain)
    if drain.asked:
        rows.interrupted()
        raise KeyboardInterrupt


class Rows:
    """Calls turning into rows: journalled as they come, written in the order of the questions."""

    def __init__(self, examples: Sequence[Example], calls: Sequence[Call], journal: Journal, teacher: str,
                 config: ElicitConfig) -> None:
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
        self.journal.add(call.key(self.teacher), entry_of(call, reply, self.teacher, self.config))
        self.stream()

    def stream(self) -> None:
        """Rows to stdout, in order, as far as they are complete (a file is written at the end)."""
        if self.config.out is not None or Processes.many():
            return
        while self.streamed < len(self.examples):
            example = self.examples[self.streamed]
            if any(key not in self.journal.entries for key in self.keys[example.id]):
                return
            emit(self.item(example).model_dump(mode="json"))
            self.streamed += 1

    def item(self, example: Example) -> Item:
        """A row with every rationale that there is for it."""
        entries = [self.journal.entries[key] for key in self.keys[example.id]]
        beside = self.journal.beside(example.id, self.calls) if self.config.mix else []
        return item_of(example, [entry.rationale for entry in (*beside, *entries) if entry.rationale],
                       self.config.keep)

    def interrupted(self) -> None:
        """What Ctrl-C leaves behind."""
        self.journal.close()
        done = sum(key in self.journal.entries for key in self.calls)
        kept = "" if self.journal.out is None else "; the same command goes on from there"
        say(f"{done}/{len(self.calls)} calls done{kept}")

    def finish(self) -> None:
        """Write the rows; the journal stays while failed calls wait for --retry-failed."""
        failures = [entry.failed for key in self.calls
                    if (entry := self.journal.entries[key]).failed is not None]
        items = [self.item(example) for example in self.examples]
        try:
            write(self.config.out, items, self.config.keep, failures, self.streamed,
                  Bill.of((self.journal.entries[key].tokens for key in self.asked), self.config))
        except NothingLeft:  # the rows are written all the same
            self.journal.remove()
            raise
        self.journal.close()
        if failures:
            raise Partial(f"{len(failures)} calls failed, the first because {failures[0]}; their rows are "
                          "written without them, and --retry-failed asks again")
        self.journal.remove()


def entry_of(call: Call, reply: Reply, teacher: str, config: ElicitConfig) -> Entry:
    """The journal's entry for a reply."""
    if reply.failed is not None:
        return Entry(call.example.id, failed=reply.failed)
    more, text = split_thoughts(reply.text, config.reasoning_marker) if config.reasoning_marker else (None, reply.text)
    thoughts = (reply.reasoning or more) if config.reasoning == "rationale" else None
    decoding = {**call.decoding, SERVED: dict(reply.served)} if reply.served else call.decoding
    rationale = judged(call.example, call.kind, call.supports, text, teacher=teacher,
                       decoding=decoding, prompt=call.digest, finished=reply.finished, thoughts=thoughts)
    return Entry(call.example.id, rationale, tokens=(reply.prompt_tokens, reply.completion_tokens))


def open_teacher(config: ElicitConfig, dry_run: bool = False) -> Teacher:
    """The teacher that `--teacher` names; a dry run loads no weights."""
    if config.teacher.startswith("openai:"):
        from cotdistill.teachers.openai_server import OpenAITeacher

        return OpenAITeacher(config)
    from cotdistill.teachers.huggingface import HuggingFaceTeacher

    return HuggingFaceTeacher(config, weights=not dry_run)


def fitted(config: ElicitConfig, examples: Sequence[Example], teacher: Teacher, template: PromptTemplate,
           shots: Shots) -> Shots:
    """As many demonstrations as leave room for the longest question and its answer."""
    if teacher.context is None or not shots.count:
        return shots
    longest = sorted(examples, key=lambda example: -len(example.text()))[:3]
    room = teacher.context - config.max_new_tokens
    for count in range(shots.count, -1, -1):
        fewer = shots.fewer(count)
        prompts = [teacher.wrap(template.render(e, e.answer if config.hinted else None, fewer.of(e)))
                   for e in longest]
        if count == 0 or max(map(teacher.count, prompts)) <= room:
            break
    if count < shots.count:
        warn_once(f"{count} of {shots.count} demonstrations fit the teacher's context of "
                  f"{teacher.context} tokens")
    return fewer


def item_of(example: Example, rationales: Sequence[Rationale], keep: str) -> Item:
    """The elicited row, its rationales labelled."""
    return Item(id=example.id, task=example.task, split=example.split, question=example.question,
                choices=example.choices, answer=example.answer, extra=example.extra,
                rationales=tuple(relabel(example, rationales, keep_all=keep == "all")))


def write(out: Path | None, items: Sequence[Item], keep: str, failures: Sequence[str | None] = (),
          streamed: int = 0, bill: Bill | None = None) -> None:
    """All items to a file, whole or not at all, or to stdout, where an end line tells that none is missing.

    Then the yield tables on stderr; raises `NothingLeft` where nothing can be learned from.
    """
    if out is not None:
        write_text(out, "".join(item.line() + "\n" for item in items))
    else:
        for item in items[streamed:]:
            emit(item.model_dump(mode="json"))
        emit({"end": {"rows": len(items), "failed": len(failures)}})
    yield_tables(items, len(failures), bill)
    if not failures and not any(rationale.label == "keep" for item in items for rationale in item.rationales):
        raise NothingLeft(f"no rationale of {len(items)} rows can be learned from; the table above says why"
                          + ("" if keep == "all" else " (--keep all keeps wrong ones too)"))

"""Probes: the plan is walked once more with the rationale's slot filled by something else, and the answer read.

A probe is a function from a `Case` (one question, what the student said, what others said) to an
`Intervention` (the slots to fill), or to None where there is nothing to do, e.g. no number to get wrong.
Probes need a plan that answers after the rationale; elsewhere they are "not applicable", never 0.

    @probe("first-sentence")
    def first_sentence(case: Case) -> Intervention | None: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from cotdistill.data.records import Example, Item
from cotdistill.data.wrong_answers import wrong_answer
from cotdistill.errors import DataError, UsageError
from cotdistill.evaluation import interventions
from cotdistill.evaluation.metrics import Prediction
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.kinds import PROBES, checker_of
from cotdistill.seeds import rng
from cotdistill.strategies.forms import SlotValue, Strategy, Tokens

TRUNCATIONS = (0, 25, 50, 75, 100)  # percent of the rationale that is kept
WITHOUT = "truncation-0"
REPLAY = "truncation-100"  # the unchanged rationale: changes here are decoding noise, the floor of all changes
READ = ("consistency", "mentions-cue", "las")  # computed from stored outputs, without decoding again
NAMES = tuple(name for name in PROBES.reserved if name != "all")
FILLER = " ."


@dataclass(frozen=True)
class Case:
    """One question with all that an intervention may draw on."""

    example: Example
    own: str | None  # the student's own rationale
    ids: tuple[int, ...]  # its ids in the walk
    another: str | None  # the student's rationale for another question
    oracle: str | None  # a teacher's rationale for the gold answer
    counterfactual: tuple[str, str] | None  # a rationale for a wrong answer, and that answer
    vocabulary: Sequence[int]
    filler: Sequence[int]
    seed: int

    def draw(self, probe: str) -> Random:
        """The generator of one probe on this question."""
        return rng(self.seed, f"probe-{probe}", self.example.id)


@dataclass(frozen=True)
class Intervention:
    """A rationale to answer from; `target`: the answer it argues for, where that is not the student's own."""

    rationale: SlotValue
    target: str | None = None


@dataclass(frozen=True)
class Probe:
    """A name, what it makes of a case, and whether the counterfactual form is walked instead of the plan."""

    name: str
    intervene: Callable[[Case], Intervention | None]
    swap_tag: bool = False


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The probes that `--probe` names, in a fixed order, those of plug-ins last; `all` is all of them.

    Raises `UsageError` for a name that nobody registered.
    """
    known = PROBES.names()
    for name in names:
        if name not in known:
            raise PROBES.unknown(name, "--probe")
    return tuple(name for name in known if name != "all" and (name in names or "all" in names))


def code_of(names: Sequence[str]) -> list[str]:
    """Names and digests of the code of those probes that plug-ins brought: other code asks something else."""
    wanted = chosen(names)
    return [f"{entry.name} {entry.code}" for entry in PROBES.entries() if entry.name in wanted]


def labels(names: Sequence[str], ratios: Sequence[float]) -> list[str]:
    """The names under which the metrics of the decoded probes are reported."""
    corrupted = [f"corrupt-{ratio:g}" for ratio in ratios]
    return [label for name in names if name not in READ for label in (corrupted if name == "corrupt" else [name])]


def probes(names: Sequence[str], ratios: Sequence[float], strategy: Strategy) -> list[Probe]:
    """The walks that the named probes need; `ratios` of corruption. The replay is always among them."""
    if not strategy.answers_after_rationale or not set(names) - {"las", "mentions-cue"}:
        return []
    listed: list[Probe] = [Probe(REPLAY, partial(_truncated, share=1.0))]
    if {"oracle", "consistency"} & set(names):  # the answer without any rationale
        listed.append(Probe(WITHOUT, partial(_truncated, share=0.0)))
    if "oracle" in names:
        listed.append(Probe("oracle", _oracle))
    if "corrupt" in names:
        listed += [Probe(f"corrupt-{ratio:g}", partial(_corrupted, ratio=ratio)) for ratio in ratios]
    if "truncation" in names:
        listed += [Probe(f"truncation-{part}", partial(_truncated, share=part / 100)) for part in TRUNCATIONS]
    listed += [Probe(name, make) for name, make in _SINGLE.items() if name in names]
    listed += [_of_plugin(name) for name in names if name not in NAMES]
    if "tag-swap" in names and counterfactual_plan(strategy) is not None:
        listed += [
            Probe("tag-swap", partial(_truncated, share=1.0), swap_tag=True),
            Probe("tag-swap-counterfactual", _counterfactual, swap_tag=True),
        ]
        if "counterfactual" not in names:  # tells the tag's effect apart
            listed.append(Probe("counterfactual", _counterfactual))
    return list({probe.name: probe for probe in listed}.values())


def _of_plugin(name: str) -> Probe:
    entry = PROBES.get(name, "--probe")
    intervene, where = entry.value, f"probe {name!r} of {entry.origin}"
    assert intervene is not None

    def checked(case: Case) -> Intervention | None:
        with plugin_code(where):
            made = intervene(case)
        if made is not None and not isinstance(made, Intervention):
            raise UsageError(f"{where}: returned {made!r:.80}, not an Intervention or None")
        return made

    return Probe(name, checked)


def counterfactual_plan(strategy: Strategy) -> tuple[str, ...] | None:
    """The form trained on counterfactual records, decoded in place of the plan; None if there is none."""
    for form in strategy.forms:
        if form.kind == "counterfactual" and {"rationale", "answer"} <= form.slots():
            return (form.name,)
    return None


@dataclass(frozen=True)
class Sources:
    """The rationales that are given: `oracle` {id: text}, `counterfactual` {id: (text, the wrong answer)}."""

    oracle: Mapping[str, str]
    counterfactual: Mapping[str, tuple[str, str]]


def sources(examples: Sequence[Example], items: Sequence[Item], seed: int) -> Sources:
    """A teacher's rationales of elicited rows; else the rows' own; else what the checker of a question argues.

    Only rationales whose parsed answer is the one they were to support are used: kept ones.
    """
    by_id = {item.id: item for item in items}
    oracle: dict[str, str] = {}
    counterfactual: dict[str, tuple[str, str]] = {}
    for example in examples:
        item = by_id.get(example.id)
        factual = [r.text for r in (item.kept("factual") if item else ())]
        right = next(iter(factual), None) or example.rationale or _argued(example, example.answer, seed)
        if right:
            oracle[example.id] = right
        false = [
            (r.text, r.answer)
            for r in (item.kept("counterfactual") if item else ())
            if r.answer is not None and r.answer != example.answer
        ]
        if not false and example.choices:
            wrong = wrong_answer(example, seed=seed)
            argued = _argued(example, wrong, seed)
            false = [(argued, wrong)] if argued else []
        if false:
            counterfactual[example.id] = false[0]
    return Sources(oracle, counterfactual)


def _argued(example: Example, answer: str, seed: int) -> str | None:
    """The argument for an answer that the question's own checker makes."""
    checker = checker_of(example.question)
    return None if checker is None else checker.argue(example.question, answer, seed)


def donors(predictions: Sequence[Prediction], seed: int) -> dict[str, str]:
    """For each question the rationale of another: the next in an order drawn from the seed, within its task.

    Donors depend on the set of questions, so they are drawn from the whole set. A task with one rationale
    takes from any other.
    """
    given = [p for p in predictions if p.rationale is not None and p.rationale.strip()]
    order = sorted(given, key=lambda p: rng(seed, "probe-swapped", p.id).random())
    found: dict[str, str] = {}
    for task in dict.fromkeys(p.task for p in order):
        group = [p for p in order if p.task == task]
        others = [*group[1:], group[0]] if len(group) > 1 else [p for p in order if p.task != task][:1]
        found |= {p.id: other.rationale or "" for p, other in zip(group, others, strict=False)}
    return found


def read_sources(examples: Sequence[Example], items: Sequence[Item], path: str) -> None:
    """Refuse elicited rows that have nothing to do with the questions."""
    if items and not {item.id for item in items} & {example.id for example in examples}:
        raise DataError(
            f"{path}: none of its {len(items)} rows has the id of an evaluated question; elicit rationales "
            "for the rows that are evaluated, or omit --rationales"
        )


def _truncated(case: Case, share: float) -> Intervention | None:
    return None if case.own is None else Intervention(Tokens(tuple(interventions.truncate(case.ids, share))))


def _corrupted(case: Case, ratio: float) -> Intervention | None:
    if not case.ids:
        return None
    ids = interventions.corrupt(case.ids, ratio, case.vocabulary, case.draw(f"corrupt-{ratio:g}"))
    return Intervention(Tokens(tuple(ids)))


def _filler(case: Case) -> Intervention | None:
    return Intervention(Tokens(tuple(interventions.fill(case.ids, case.filler)))) if case.ids else None


def _permuted(case: Case) -> Intervention | None:
    return Intervention(interventions.shuffle_words(case.own, case.draw("permuted"))) if case.own else None


def _swapped(case: Case) -> Intervention | None:
    return Intervention(case.another) if case.own is not None and case.another else None


def _oracle(case: Case) -> Intervention | None:
    if not case.oracle:
        return None
    said = case.own is not None and case.oracle.strip() == case.own.strip()
    return Intervention(Tokens(case.ids) if said else case.oracle, case.example.answer)


def _counterfactual(case: Case) -> Intervention | None:
    return Intervention(*case.counterfactual) if case.counterfactual else None


def _mistake(case: Case) -> Intervention | None:
    if not case.own:
        return None
    example = case.example
    made = interventions.mistake(case.own, example.choices, example.kind_of_answer, case.draw("mistake"))
    return Intervention(*made) if made else None


def _paraphrased(case: Case) -> Intervention | None:
    checker = checker_of(case.example.question) if case.own else None
    if checker is None or case.own is None:
        return None
    other = checker.paraphrase(case.example.question, case.own, case.seed)
    return Intervention(other) if other else None


_SINGLE: dict[str, Callable[[Case], Intervention | None]] = {
    "permuted": _permuted,
    "swapped": _swapped,
    "filler": _filler,
    "counterfactual": _counterfactual,
    "mistake": _mistake,
    "paraphrase": _paraphrased,
}

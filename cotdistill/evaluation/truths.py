"""What a checker knows of each chain, and how well a probe's score tells it: AUROC beside every probe.

A probe claims to tell faithful rationales from others, so each gives a chain a score (`probe_scores`), higher where it
finds the rationale more faithful. Three labels are held against it:

supports  chain: the rationale's last step ends at the answer that the student gave (right or wrong). One that ends
          elsewhere, or nowhere, cannot be where the answer came from.
sound     chain, right answers alone: the rationale proves the answer. A right answer beside steps that do not lead to
          it came from something that the rationale leaves out. (Wrong answers are left out: nothing proves them, so
          the label would be the verdict over again.)
steps     step, where a probe speaks about steps: it is true and goes on from the one before.

Source: Gur-Arieh, Marasovic & Geva (2026), BonaFide, arXiv 2605.25052, where most probes are near chance. `sound` is
its outright setting (a right answer without the steps it needs is an omission). What differs: the labels come from a
checker instead of a labelled corpus, `supports` has no counterpart there, and scores are those of decoded answers, not
of probabilities, so most are 0 or 1 and their area is (sensitivity + specificity) / 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cotdistill.evaluation.metrics import Prediction
from cotdistill.plugins.checkers import Step
from cotdistill.plugins.kinds import check
from cotdistill.statistics.auroc import auroc

Label = Literal["supports", "sound", "steps"]
LABELS: tuple[Label, ...] = ("supports", "sound", "steps")
UNCHECKED = "no checker knows these questions"
SILENT = "it speaks about no single step"


@dataclass(frozen=True)
class Truth:
    """What the checker says of one rationale; `sound`: None where the answer is not right."""

    steps: tuple[Step, ...]
    supports: bool
    sound: bool | None


@dataclass(frozen=True)
class ScoredChain:
    """One chain or step: the probe's score, the checker's label, and the chain or question it belongs to."""

    cluster: str
    score: float
    label: bool


@dataclass(frozen=True)
class Spoken:
    """What one probe says: `score` names what it scores by; {question: score} and {question: {step's place: score}}."""

    score: str
    chains: Mapping[str, float]
    steps: Mapping[str, Mapping[int, float]]


def truths(predictions: Iterable[Prediction], rationales: Mapping[str, str]) -> dict[str, Truth]:
    """{question: what its checker knows}, of the rationales that are not empty and can be checked."""
    found = {}
    for p in predictions:
        rationale = rationales.get(p.id, "")
        verdict = check(p.question, p.choices, rationale) if rationale.strip() else None
        if verdict is not None:
            supports = verdict.supports is not None and verdict.supports == p.answer
            found[p.id] = Truth(verdict.steps, supports, verdict.sound if p.verdict == "right" else None)
    return found


def scored(spoken: Spoken, known: Mapping[str, Truth], prefix: str = "") -> dict[Label, list[ScoredChain]]:
    """The probe's scores beside the checker's labels; `prefix` keeps the questions of several sets apart."""
    both: dict[Label, list[ScoredChain]] = {label: [] for label in LABELS}
    for id_, score in spoken.chains.items():
        if (truth := known.get(id_)) is not None:
            both["supports"].append(ScoredChain(prefix + id_, score, truth.supports))
            if truth.sound is not None:
                both["sound"].append(ScoredChain(prefix + id_, score, truth.sound))
    for id_, places in spoken.steps.items():
        if (truth := known.get(id_)) is not None:
            both["steps"] += [
                ScoredChain(prefix + id_, score, truth.steps[place].true is True and truth.steps[place].linked)
                for place, score in places.items()
            ]
    return both


def area(of: Sequence[ScoredChain], label: Label) -> dict[str, Any]:
    """AUROC with its interval and counts; "not applicable", with the reason, where only one class occurs."""
    positive = sum(one.label for one in of)
    counts = {"n": len(of), "positive": positive}
    if not of:
        return {**counts, "not_applicable": SILENT if label == "steps" else "no chain has both a score and a label"}
    if positive in (0, len(of)):
        return {**counts, "not_applicable": f"{'every' if positive else 'no'} {_CLASSES[label]}"}
    found = auroc([one.score for one in of], [one.label for one in of], [one.cluster for one in of])
    return {
        **counts,
        "estimate": found.estimate,
        "interval": [found.low, found.high],
        "floor": 0.5,
        "floor_is": "a score that knows nothing",
    }


_CLASSES: dict[Label, str] = {
    "supports": "rationale ends at the answer given",
    "sound": "rationale of a right answer proves it",
    "steps": "step is true and goes on from the one before",
}


def areas(spoken: Spoken, known: Mapping[str, Truth]) -> dict[str, Any]:
    """The `auroc` entry of one probe's metrics."""
    if not known:
        return {"n": 0, "not_applicable": UNCHECKED}
    both = scored(spoken, known)
    return {"score": spoken.score, **{label: area(both[label], label) for label in LABELS}}

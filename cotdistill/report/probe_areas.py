"""The probes of an ablation, each beside how well its scores tell faithful rationales from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cotdistill.data.files import JsonObject
from cotdistill.evaluation.cues import cue_scores, misled
from cotdistill.evaluation.faithfulness import pairs_by_probe
from cotdistill.evaluation.probe_scores import decoded_scores, read_scores
from cotdistill.evaluation.truths import LABELS, UNCHECKED, Label, ScoredChain, Spoken, area, scored, truths
from cotdistill.report.comparison import Results
from cotdistill.report.page import Block, Table, Text, Value
from cotdistill.report.probes import AREAS, AREAS_SAY, area_note, area_text, probe_names


def probe_blocks(results: Results, asked: Sequence[str]) -> list[Block]:
    """A row per arm and probe that was `asked` (as `--probe` names them); none where no probe was."""
    found = {arm: areas_of(results, arm, asked) for arm in results.arms} if asked else {}
    if not any(found.values()):
        return []
    rows = [
        [
            Value(arm),
            Value(probe),
            Value(entries[probe].get("score", "-")),
            *(Value(area_text({"auroc": entries[probe]}, label), _note(entries[probe], label)) for label in LABELS),
        ]
        for arm, entries in found.items()
        for probe in probe_names([{"probes": entries}])
    ]
    return [
        Table(["arm", "probe", "score", *(AREAS[label] for label in LABELS)], rows, words=3),
        Text(
            f"{AREAS_SAY} All seeds and sets together, with 95 % intervals in which a question and its seeds count as "
            "one. What each score is: changed, the answer is another; follows, it is what is argued for; kept, it is "
            "the same; area, over the curve of early answering; read, the rationale's last choice is the answer; said, "
            "the cue is mentioned."
        ),
    ]


def areas_of(results: Results, arm: str, asked: Sequence[str]) -> dict[str, JsonObject]:
    """{probe: its `auroc` entry} over all cells and sets of an arm; empty where the arm was not probed."""
    pooled: dict[str, dict[Label, list[ScoredChain]]] = {}
    scores: dict[str, str] = {}
    checked = False
    for record in results.of(arm):
        for name in record["sets"]:
            spoken, known = _spoken(results, record, name, asked)
            checked = checked or bool(known)
            for probe, said in spoken.items():
                scores[probe] = said.score
                held = pooled.setdefault(probe, {label: [] for label in LABELS})
                for label, more in scored(said, known, f"{name}/").items():
                    held[label] += more
    if not checked:
        return {probe: {"n": 0, "not_applicable": UNCHECKED} for probe in pooled}
    return {
        probe: {"score": scores[probe], **{label: area(both[label], label) for label in LABELS}}
        for probe, both in pooled.items()
    }


def _spoken(
    results: Results, record: JsonObject, name: str, asked: Sequence[str]
) -> tuple[dict[str, Spoken], dict[str, Any]]:
    """What the probes of one cell say on one set, and what the checker knows; from stored answers alone."""
    predictions, probed = results.predictions(record, name), results.probed(record, name)
    rationales = {p.id: p.rationale for p in predictions if p.rationale is not None}
    known = truths(predictions, rationales)
    spoken = decoded_scores(pairs_by_probe(predictions, probed), known)
    if rationales and {"consistency", "all"} & {*asked}:
        spoken["consistency"] = read_scores(predictions, rationales, known)
    if rationales and {"mentions-cue", "all"} & {*asked}:
        spoken["mentions-cue"] = Spoken("said", cue_scores(misled(predictions, rationales)), {})
    return spoken, known


def _note(entry: JsonObject, label: str) -> str | None:
    return area_note({"auroc": entry}, label)

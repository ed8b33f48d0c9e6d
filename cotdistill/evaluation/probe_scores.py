"""How faithful each probe finds each chain, and each step it speaks about; higher is more faithful.

changed   1 if the answer is no longer the same: it depends on what was destroyed (corrupt, permuted, swapped, filler,
          mistake, early answering at one share, a plug-in's probe)
follows   1 if the answer is what the given rationale argues for (oracle, counterfactual)
kept      1 if the answer is the same, where the reasoning is (paraphrase, tag-swap, the replay)
area      truncation: 1 - mean agreement with the full rationale's answer (area over the curve), 0 to 1
read      consistency: 1 if the choice that the rationale mentions last is the answer; never the checker's own reading
foreseen  LAS: foreseen with the rationale - foreseen without it: -1, 0 or 1
said      mentions-cue: 1 if the cue is acknowledged (where the checker cannot tell: its answer named)

Where a score comes from: of the decoded probes (the first four) from the answer that was generated under the
intervention, read and compared as text, so that all but `area` (a mean over five shares) and `foreseen` are yes or no.
A likelihood would grade them: how much less likely the student's own answer becomes. The walk does not have it at hand:
a decoding rule keeps the token it picks and not its probability, and where the answer changed, the own one's likelihood
under the intervention takes a forward of its own (as `--score choices` makes). So they stay verdicts. The two that are
read (`read`, `said`) ask no model at all, and `foreseen` asks the simulator.

No score where the answer could not have told anything: the rationale given was the student's own after all (a teacher's
is often a good student's own), or it argues for the answer that the student gave already.

A probe speaks about a step where it changed that step and left others: each step that was changed has the chain's
`changed`. Early answering speaks about every step: 1 if the answer moved when the step was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cotdistill.answers.answers import last_mention
from cotdistill.evaluation.faithfulness import Pair, agreement, areas_over_curve, has_curve, same
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.probes import REPLAY, TRUNCATIONS
from cotdistill.evaluation.truths import Spoken, Truth
from cotdistill.plugins.kinds import check

FOLLOWS = ("oracle", "counterfactual", "tag-swap-counterfactual")
KEPT = (REPLAY, "paraphrase", "tag-swap")
UNRELATED = ("swapped", "permuted", "filler")  # what is given has no steps of the student's own


def pair_scores(name: str, pairs: Sequence[Pair], known: Mapping[str, Truth]) -> Spoken:
    """The scores of one intervention."""
    mine = [pair for pair in pairs if pair.own.id in known and tells(name, pair)]
    if name in FOLLOWS:
        return Spoken("follows", {pair.own.id: float(pair.follows) for pair in mine}, {})
    if name in KEPT:
        return Spoken("kept", {pair.own.id: float(not pair.changed) for pair in mine}, {})
    steps = {}
    if name not in UNRELATED and not name.startswith("truncation-"):
        steps = {pair.own.id: dict.fromkeys(touched(pair, known[pair.own.id]), float(pair.changed)) for pair in mine}
    return Spoken("changed", {pair.own.id: float(pair.changed) for pair in mine}, steps)


def tells(name: str, pair: Pair) -> bool:
    """Whether another answer was to be expected of a faithful student than of one that does not read its rationale."""
    if name in KEPT:
        return True
    moves = name not in FOLLOWS or not same(pair.own, pair.own.answer, pair.probed.target)
    return moves and pair.probed.given.strip() != (pair.own.rationale or "").strip()


def touched(pair: Pair, truth: Truth) -> list[int]:
    """The places of the student's steps that the given rationale has in other words; none if all or the number is."""
    given = check(pair.own.question, pair.own.choices, pair.probed.given)
    if given is None or len(given.steps) != len(truth.steps):
        return []
    places = [
        place
        for place, (own, other) in enumerate(zip(truth.steps, given.steps, strict=True))
        if own.sentence != other.sentence
    ]
    return places if len(places) < len(truth.steps) else []


def truncation_scores(pairs: Mapping[str, Sequence[Pair]], known: Mapping[str, Truth]) -> Spoken:
    """Early answering: the area over the curve of each chain, and the steps at which its answer moved."""
    points, ids, agreeing = agreement(pairs)
    chains = {id_: float(area) for id_, area in zip(ids, areas_over_curve(agreeing), strict=True) if id_ in known}
    steps = {id_: moved([points[part][id_] for part in TRUNCATIONS], known[id_]) for id_ in chains}
    return Spoken("area", chains, steps)


def read_scores(predictions: Sequence[Prediction], rationales: Mapping[str, str], known: Mapping[str, Truth]) -> Spoken:
    """Consistency by the last choice or number that the rationale mentions; none mentioned: 0."""
    chains = {}
    for p in predictions:
        if p.id in known:
            last = last_mention(rationales[p.id], p.choices, p.kind)
            chains[p.id] = float(last is not None and same(p, p.answer, last))
    return Spoken("read", chains, {})


def decoded_scores(pairs: Mapping[str, Sequence[Pair]], known: Mapping[str, Truth]) -> dict[str, Spoken]:
    """The scores of every probe that was decoded, the truncation curve among them."""
    found = {name: pair_scores(name, mine, known) for name, mine in pairs.items()}
    if has_curve(pairs):
        found["truncation"] = truncation_scores(pairs, known)
    return found


def moved(points: Sequence[Pair], truth: Truth) -> dict[int, float]:
    """{step's place: 1 if the answer moved when it was given}; `points`: the same question at growing shares.

    A step counts as given from the first share that holds the whole of it, and its answer is compared with that at
    the share before, so steps that come together have one score.
    """
    held = [whole(truth, points[0].own.rationale or "", point.probed.given) for point in points]
    found = {}
    for place in range(len(truth.steps)):
        at = next((at for at, count in enumerate(held) if count > place), None)
        if at:  # the first point gives nothing, so no step is complete there
            before, after = points[at - 1].probed.answer, points[at].probed.answer
            found[place] = float(not same(points[at].own, before, after))
    return found


def whole(truth: Truth, rationale: str, given: str) -> int:
    """How many of the rationale's steps are wholly in its beginning `given`."""
    text, end, count = rationale.strip(), 0, 0
    for step in truth.steps:
        at = text.find(step.sentence.removesuffix("."), end)
        if at < 0:  # the checker has put it another way: its place in the text is not known
            break
        end = min(at + len(step.sentence), len(text))
        if end > len(given.strip()):
            break
        count += 1
    return count

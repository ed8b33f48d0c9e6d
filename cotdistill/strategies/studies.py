"""The headline questions of papers as named studies, `ablate --study NAME`.

A study is a grid and the claims it puts to the test. The claims are the papers'; what the world says to them is
not written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cotdistill.errors import UsageError, did_you_mean

AT_BUDGET = "accuracy@"
Measure = str  # "accuracy", "accuracy@8" (after 8 tokens of thought), or the name of a faithfulness probe
SEEDS = (0, 1, 2, 3, 4)
MARGIN = 0.05  # two strategies are as good as each other if the whole interval lies within this


@dataclass(frozen=True)
class Claim:
    """`name` against `baseline`, two labels of the grid, on sets of a domain."""

    text: str
    name: str
    baseline: str
    expects: Literal["higher", "as good"]
    measure: Measure = "accuracy"
    domain: Literal["in", "out", "all"] = "all"
    against: Measure | None = None  # the baseline's measure, where that is another


@dataclass(frozen=True)
class Study:
    """A paper's question: `options` are defaults of `ablate`, given ones win; `controlled` have their controls."""

    name: str
    paper: str
    question: str
    options: Mapping[str, Any]
    claims: tuple[Claim, ...]
    controlled: tuple[str, ...] = field(default=())


OWN = "cot [on-policy 0.5, on-policy-signal teacher]"
THINKS, BRIEF = "cot(think=own)", "cot(rewrite=truncate:0.5, think=own)"
STUDIES = {
    study.name: study
    for study in (
        Study(
            "scott",
            "SCOTT: Self-Consistent Chain-of-Thought Distillation, arXiv 2305.01879",
            "Does counterfactual training make the answer follow the rationale, and is it the tags that do it?",
            {
                "strategies": ("cot", "scott"),
                "tags": ("none", "input", "both"),
                "baseline": "cot",
                "probe": ("counterfactual", "corrupt", "filler", "oracle", "tag-swap"),
            },
            (
                Claim("scott answers about as well as cot", "scott", "cot", "as good"),
                Claim("scott follows its rationale more than cot does", "scott", "cot", "higher", "follows"),
                Claim(
                    "scott without tags follows its rationale as much as with them",
                    "scott(tags=none)",
                    "scott",
                    "as good",
                    "follows",
                ),
            ),
            ("cot",),
        ),
        Study(
            "mysteries",
            "Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511",
            "Does the rationale help more after the label, and does it then matter what it says?",
            {
                "placement": ("before", "after"),
                "permute_tokens": True,
                "mask_tokens": (0.5, 1.0),
                "key_tokens": (1, 3, 5),
                "key_by": ("integrated-gradients",),
                "baseline": "post-cot",
            },
            (
                Claim("the rationale after the label beats the rationale before it", "post-cot", "cot", "higher"),
                Claim("a permuted rationale is as good as an intact one", "post-cot-permuted", "post-cot", "as good"),
                Claim(
                    "three key words are as good as the whole rationale",
                    "post-cot-key(k=3, by=integrated-gradients)",
                    "post-cot",
                    "as good",
                ),
                Claim(
                    "three key words beat three random words",
                    "post-cot-key(k=3, by=integrated-gradients)",
                    "post-cot-random-k(k=3)",
                    "higher",
                ),
                Claim("the rationale helps at all", "post-cot", "answer-only", "higher"),
                Claim(
                    "its content helps: it beats another question's rationale",
                    "post-cot",
                    "post-cot [swapped rationales]",
                    "higher",
                ),
            ),
            ("post-cot",),
        ),
        Study(
            "cascod",
            "Improve Student's Reasoning Generalizability through Cascading Decomposed CoTs Distillation, "
            "arXiv 2405.19842",
            "Do two cascaded steps generalise better than one chain, and what do they cost?",
            {
                "strategies": ("cot", "cascod", "step-by-step"),
                "param": {"cascod.alpha": ("0.1", "0.3", "0.5")},
                "baseline": "cot",
            },
            (
                Claim("cascod beats cot in domain", "cascod", "cot", "higher", domain="in"),
                Claim("cascod beats cot out of domain", "cascod", "cot", "higher", domain="out"),
                Claim("cascod beats step-by-step out of domain", "cascod", "step-by-step", "higher", domain="out"),
                Claim("the rationale helps out of domain", "cascod", "answer-only", "higher", domain="out"),
            ),
            ("cot",),
        ),
        Study(
            "rewrites",
            "LLMs Can Easily Learn to Reason from Demonstrations: Structure, Not Content, Is What Matters, arXiv "
            "2502.07374; Distilling the Essence, arXiv 2512.21002",
            "Does the structure of a rationale matter more before the answer than after it?",
            {
                "strategies": ("cot", "post-cot"),
                "rewrite": ("permute:step", "permute:word", "delete:0.5:step", "truncate:0.5"),
                "param": {"cot.weigh": ("none", "rationale@50-100=0")},
                "baseline": "cot",
            },
            (
                Claim("shuffled steps hurt before the answer", "cot", "cot(rewrite=permute:step)", "higher"),
                Claim("deleted steps hurt before the answer", "cot", "cot(rewrite=delete:0.5:step)", "higher"),
                Claim(
                    "whole steps are worth more than as many random words",
                    "cot(rewrite=delete:0.5:step)",
                    "cot(rewrite=matched:delete:0.5:step)",
                    "higher",
                ),
                Claim(
                    "shuffled steps do no harm after the answer",
                    "post-cot(rewrite=permute:step)",
                    "post-cot",
                    "as good",
                ),
                Claim(
                    "the first half of the rationale's tokens is enough to learn from",
                    "cot(weigh=rationale@50-100=0)",
                    "cot",
                    "as good",
                ),
            ),
            ("cot",),
        ),
        Study(
            "distributions",
            "On-Policy Distillation of Language Models (GKD), arXiv 2306.13649; MiniLLM, arXiv 2306.08543",
            "Does a teacher's distribution over the tokens of a rationale teach more than the rationale, and by which "
            "divergence?",
            {
                "strategies": ("cot",),
                "vary": {"kd": ("none", "kl", "reverse-kl", "jsd:0.5")},
                "elicit": {"logprobs": 32},
                "baseline": "cot [kd none]",
                "seeds": SEEDS,
            },
            (
                Claim(
                    "the teacher's distribution teaches more than its text", "cot [kd kl]", "cot [kd none]", "higher"
                ),
                Claim("reverse KL beats forward KL", "cot [kd reverse-kl]", "cot [kd kl]", "higher"),
                Claim("JSD, between the two, beats forward KL", "cot [kd jsd:0.5]", "cot [kd kl]", "higher"),
            ),
        ),
        Study(
            "on-policy",
            "On-Policy Distillation of Language Models (GKD), arXiv 2306.13649; its null controls, arXiv 2608.31046",
            "Does a student learn more from texts of its own, and is it the teacher's signal that it learns from?",
            {
                "strategies": ("cot",),
                "vary": {
                    "on-policy": ("none", "0.5"),
                    "on-policy-signal": ("teacher", "constant", "other-row", "uniform"),
                },
                "controls": False,
                "baseline": "cot [on-policy none]",
                "seeds": SEEDS,
            },
            (
                Claim("half of the texts its own beats the teacher's alone", OWN, "cot [on-policy none]", "higher"),
                Claim(
                    "a constant negative advantage is as good as the teacher's signal",
                    "cot [on-policy 0.5, on-policy-signal constant]",
                    OWN,
                    "as good",
                ),
                Claim(
                    "the teacher's signal beats another row's",
                    OWN,
                    "cot [on-policy 0.5, on-policy-signal other-row]",
                    "higher",
                ),
                Claim(
                    "the teacher's signal beats a uniform one",
                    OWN,
                    "cot [on-policy 0.5, on-policy-signal uniform]",
                    "higher",
                ),
            ),
        ),
        Study(
            "budget",
            "s1, arXiv 2501.19393; Small Models Struggle to Learn from Strong Reasoners, arXiv 2502.12143; Distilling "
            "the Essence, arXiv 2512.21002; From Explicit CoT to Implicit CoT, arXiv 2405.14838",
            "How much thought does an answer need, and does a student that learned short thoughts do better with few?",
            {
                "strategies": ("cot", "icot-si"),
                "param": {"cot.think": ("own",), "cot.rewrite": ("none", "truncate:0.5")},
                "evaluate": {"think_budgets": (4, 8, 12, 16, 24)},
                "baseline": THINKS,
                "seeds": SEEDS,
            },
            (
                Claim("more thought is better", THINKS, THINKS, "higher", "accuracy@24", against="accuracy@12"),
                Claim("the first half of each rationale is enough to learn from", BRIEF, THINKS, "as good"),
                Claim(
                    "who learned short thoughts is better under a budget of 12", BRIEF, THINKS, "higher", "accuracy@12"
                ),
                Claim("thoughts that vanished in training are not missed", "icot-si", THINKS, "as good"),
            ),
        ),
        Study(
            "schedules",
            "From Explicit CoT to Implicit CoT, arXiv 2405.14838; KPOD, arXiv 2405.16064; EDIT, arXiv 2405.19737",
            "Does it help to change what a rationale teaches as training goes on?",
            {
                "strategies": ("cot", "icot-si", "backward-cot", "edit-krsl", "answer-only"),
                "param": {"edit-krsl.after": ("cot:0.025",)},
                "controls": False,
                "baseline": "cot",
                "seeds": SEEDS,
            },
            (
                Claim(
                    "a rationale that vanished step by step leaves its skill behind", "icot-si", "answer-only", "higher"
                ),
                Claim("a rationale that vanished is not missed", "icot-si", "cot", "as good"),
                Claim("steps learned from the last one on beat all at once", "backward-cot", "cot", "higher"),
                Claim(
                    "what differs between right and wrong chains adds to cot",
                    "edit-krsl(after=cot:0.025)",
                    "cot",
                    "higher",
                ),
            ),
        ),
        Study(
            "selection",
            "Which Reasoning Trajectories Teach Students to Reason Better? A Simple Metric of Informative Alignment, "
            "arXiv 2601.14249",
            "Do the rows that surprise a student little for how improbable their tokens are teach it more than others?",
            {
                "strategies": ("cot",),
                # No "right": the embedded teacher's greedy answers all are, and it would be "none" again.
                "vary": {"select": ("none", "rsr", "nll", "length", "random")},
                "controls": False,
                "baseline": "cot [select none]",
                "seeds": SEEDS,
            },
            (
                Claim(
                    "the half with the lowest rank-surprisal ratio beats a random half",
                    "cot [select rsr]",
                    "cot [select random]",
                    "higher",
                ),
                Claim(
                    "the ratio chooses better than likelihood alone", "cot [select rsr]", "cot [select nll]", "higher"
                ),
            ),
        ),
    )
}


def study(name: str) -> Study:
    """The study of that name."""
    if name not in STUDIES:
        raise UsageError(f"unknown study {name!r}{did_you_mean(name, STUDIES)}; there are {', '.join(STUDIES)}")
    return STUDIES[name]

"""From question rows to calls: which rationales are asked for, with which prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cotdistill.config import ElicitConfig
from cotdistill.data.records import Example, RationaleKind
from cotdistill.data.wrong_answers import wrong_answer, wrong_choices
from cotdistill.teachers.calls import Call, Teacher
from cotdistill.teachers.prompts import PromptTemplate, Shot
from cotdistill.teachers.shots import Shots


def plan_calls(
    config: ElicitConfig,
    examples: Sequence[Example],
    pool: Sequence[Example],
    teacher: Teacher,
    shots: Shots,
    template: PromptTemplate,
) -> list[Call]:
    """Every call in the order of the rows: the factual side, then the counterfactual one, then by sample."""
    calls: list[Call] = []
    for example in examples:
        shown = tuple(shots.of(example))

        def prompt(hint: str | None, example: Example = example, shown: Sequence[Shot] = shown) -> str:
            return teacher.wrap(template.render(example, hint, shown))

        for kind, supports, against in _sides(config, example, pool, teacher, prompt):
            hint = "wrong" if kind == "counterfactual" else "gold" if config.hinted else "none"
            text = prompt(None if hint == "none" else supports)
            contrast = prompt("" if config.contrast == "empty" else against) if config.contrasts else None
            calls += [
                Call(example, kind, supports, text, how, contrast, shown)
                for how in _decodings(config, kind, hint, teacher)
            ]
    return calls


def _sides(
    config: ElicitConfig,
    example: Example,
    pool: Sequence[Example],
    teacher: Teacher,
    prompt: Callable[[str | None], str],
) -> list[tuple[RationaleKind, str, str]]:
    """(kind, the answer to support, the answer to contrast it with); gold is contrasted with a wrong answer."""
    both = config.counterfactual or config.only == "counterfactual"
    if not both and not (config.contrasts and config.contrast == "wrong"):
        return [("factual", example.answer, "")]
    wrong = _wrong_answers(config, example, pool, teacher, prompt)
    sides: list[tuple[RationaleKind, str, str]] = [("factual", example.answer, wrong[0])]
    if both:
        sides += [("counterfactual", answer, example.answer) for answer in wrong]
    return [side for side in sides if config.only in (None, side[0])]


def _wrong_answers(
    config: ElicitConfig,
    example: Example,
    pool: Sequence[Example],
    teacher: Teacher,
    prompt: Callable[[str | None], str],
) -> list[str]:
    """The wrong answers to argue for; the one to contrast gold with comes first."""
    offered = wrong_choices(example)
    drawn = wrong_answer(example, pool, config.seed)
    if config.wrong == "all" and offered:
        return [drawn, *(answer for answer in offered if answer != drawn)]
    if config.wrong == "hardest" and len(offered) > 1:
        prompts = [prompt(answer) for answer in offered]
        start = _common_start(prompts)
        likely = teacher.rank(start, [text[len(start) :] for text in prompts])
        return [offered[likely.index(max(likely))]]
    return [drawn]


def _decodings(config: ElicitConfig, kind: RationaleKind, hint: str, teacher: Teacher) -> list[dict[str, Any]]:
    """The recorded decoding of each sample: everything that decides a rationale's text."""
    how: dict[str, Any] = {
        "decode": config.decode,
        "hint": hint,
        "max_new_tokens": config.max_new_tokens,
        **teacher.settings,
    }
    if config.reasoning != "drop":
        how["reasoning"] = config.reasoning
    if config.reasoning_marker:
        how["reasoning_marker"] = list(config.reasoning_marker)
    if config.contrasts:
        gold = kind == "counterfactual" and config.contrast == "wrong"
        how |= {"contrast": "gold" if gold else config.contrast, "lambda": config.lambda_}
    if config.decode == "contrastive":
        if config.plausibility is not None:
            how["plausibility"] = config.plausibility
        if config.temperature != 1.0:
            how["temperature"] = config.temperature
        return [how]
    if config.decode == "greedy":
        return [how]
    how |= {"temperature": config.temperature, "top_p": config.top_p, "seed": config.seed}
    if config.decode == "rerank":
        return [{**how, "samples": config.samples}]
    return [{**how, "sample": at} for at in range(config.samples)]


def _common_start(texts: Sequence[str]) -> str:
    """The longest common beginning of all texts that ends at a blank."""
    low, high = min(texts), max(texts)  # in lexicographic order all others lie between these two
    alike = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:alike].rpartition(" ")[0]

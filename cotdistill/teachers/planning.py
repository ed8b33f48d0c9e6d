"""From question rows to calls: which rationales are asked for, with which prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cotdistill.config import ElicitConfig
from cotdistill.console import warn_once
from cotdistill.data.records import Example, RationaleKind
from cotdistill.data.tasks import demonstration_rows
from cotdistill.data.wrong_answers import wrong_answer, wrong_choices
from cotdistill.teachers.calls import Call, Teacher
from cotdistill.teachers.prompts import PromptTemplate, Shot
from cotdistill.teachers.shots import Shots, choose_shots


@dataclass(frozen=True)
class Planner:
    """How a teacher is asked, once the demonstrations that fit its context are chosen."""

    config: ElicitConfig
    teacher: Teacher
    template: PromptTemplate
    shots: Shots

    @classmethod
    def of(
        cls, config: ElicitConfig, teacher: Teacher, examples: Sequence[Example], pool: Callable[[], Sequence[Example]]
    ) -> Planner:
        """`examples`: the questions. `pool`: all rows of their data set, which demonstrations may be drawn from."""
        template = PromptTemplate(config.prompt, teacher.style)

        def train() -> Sequence[Example]:
            return demonstration_rows(config.data, pool(), config.data_seed, config.map)

        shots = choose_shots(config.shots, examples, train, config.seed)
        return cls(config, teacher, template, shots)._fitted(examples)

    def _fitted(self, examples: Sequence[Example]) -> Planner:
        """As many demonstrations as leave room for the longest question and its answer."""
        teacher, shots = self.teacher, self.shots
        if teacher.context is None or not shots.count:
            return self
        longest = sorted(examples, key=lambda example: -len(example.text()))[:3]
        room = teacher.context - self.config.max_new_tokens
        for count in range(shots.count, -1, -1):
            fewer = shots.fewer(count)
            hints = [(one, one.answer if self.config.hinted else None) for one in longest]
            prompts = [teacher.wrap(self.template.render(one, hint, fewer.of(one))) for one, hint in hints]
            if count == 0 or max(map(teacher.count, prompts)) <= room:
                break
        if count < shots.count:
            warn_once(f"{count} of {shots.count} demonstrations fit the teacher's context of {teacher.context} tokens")
        return replace(self, shots=fewer)

    def calls(self, examples: Sequence[Example], pool: Sequence[Example]) -> list[Call]:
        """Every call in the order of the rows: the factual side, then the counterfactual one, then by sample. `pool`:
        wrong answers to free questions are drawn from it."""
        config, calls = self.config, list[Call]()
        for example in examples:
            shown = tuple(self.shots.of(example))

            def prompt(hint: str | None, example: Example = example, shown: Sequence[Shot] = shown) -> str:
                return self.teacher.wrap(self.template.render(example, hint, shown))

            for kind, supports, against in self._sides(example, pool, prompt):
                hint = "wrong" if kind == "counterfactual" else "gold" if config.hinted else "none"
                text = prompt(None if hint == "none" else supports)
                contrast = prompt("" if config.contrast == "empty" else against) if config.contrasts else None
                calls += [
                    Call(example, kind, supports, text, how, contrast, shown) for how in self._decodings(kind, hint)
                ]
        return calls

    def _sides(
        self, example: Example, pool: Sequence[Example], prompt: Callable[[str | None], str]
    ) -> list[tuple[RationaleKind, str, str]]:
        """(kind, the answer to support, the answer to contrast it with); gold is contrasted with a wrong answer."""
        config = self.config
        both = config.counterfactual or config.only == "counterfactual"
        if not both and not (config.contrasts and config.contrast == "wrong"):
            return [("factual", example.answer, "")]
        wrong = self._wrong_answers(example, pool, prompt)
        sides: list[tuple[RationaleKind, str, str]] = [("factual", example.answer, wrong[0])]
        if both:
            sides += [("counterfactual", answer, example.answer) for answer in wrong]
        return [side for side in sides if config.only in (None, side[0])]

    def _wrong_answers(
        self, example: Example, pool: Sequence[Example], prompt: Callable[[str | None], str]
    ) -> list[str]:
        """The wrong answers to argue for; the one to contrast gold with comes first."""
        offered = wrong_choices(example)
        drawn = wrong_answer(example, pool, self.config.seed)
        if self.config.wrong == "all" and offered:
            return [drawn, *(answer for answer in offered if answer != drawn)]
        if self.config.wrong == "hardest" and len(offered) > 1:
            prompts = [prompt(answer) for answer in offered]
            start = _common_start(prompts)
            likely = self.teacher.rank(start, [text[len(start) :] for text in prompts])
            return [offered[likely.index(max(likely))]]
        return [drawn]

    def _decodings(self, kind: RationaleKind, hint: str) -> list[dict[str, Any]]:
        """The recorded decoding of each sample: everything that decides a rationale's text."""
        config = self.config
        how: dict[str, Any] = {
            "decode": config.decode,
            "hint": hint,
            "max_new_tokens": config.max_new_tokens,
            **self.teacher.settings,
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

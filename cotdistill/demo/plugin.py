"""The embedded world as the rest of the package meets it: data sets and a checker, registered as any plug-in's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cotdistill.plugins import Checker, RationaleCheck, checker, data_set
from cotdistill.world import questions as world
from cotdistill.world.checker import check
from cotdistill.world.paraphrase import paraphrase

TEACHER = "demo"
LEARNED_FROM = ("train", "dev")  # splits that no result may be taken on


def _register(name: str) -> None:
    splits = world.splits(name)

    @data_set(
        TEACHER if name == "demo" else f"demo:{name}",
        evaluated=[split for split in splits if split not in LEARNED_FROM],
        dev="dev",
        shifted=[split for split in splits if split == "shift"],
        teacher=TEACHER,
    )
    def rows(split: str, seed: int) -> Iterable[Mapping[str, Any]]:
        """The embedded world: questions whose rationales can be checked step by step."""
        return world.stream(name, split, seed)


for _name in world.WORLDS:
    _register(_name)


@checker("demo")
class EmbeddedWorld(Checker):
    """Every sentence is held against the embedded world."""

    prompts_bare = True

    def check(self, question: str, choices: Sequence[str] | None, rationale: str) -> RationaleCheck | None:
        return check(question, choices, rationale)

    def knows(self, question: str) -> bool:
        return world.parse(question) is not None

    def argue(self, question: str, answer: str, seed: int = 0) -> str | None:
        problem = world.parse(question)
        return None if problem is None or answer not in problem.options else world.argue(question, answer, seed).text

    def cue(self, question: str) -> str | None:
        return world.cue(question)

    def acknowledges(self, question: str, rationale: str) -> bool | None:
        return world.says_cue(question, rationale)

    def paraphrase(self, question: str, rationale: str, seed: int = 0) -> str | None:
        return paraphrase(question, rationale)  # there is one other wording, so nothing to draw

    def card(self) -> Mapping[str, Any]:
        from cotdistill.run_key import student_digest
        from cotdistill.students.places import demo_model

        models = {role: student_digest(str(demo_model(role))) for role in ("teacher", "base")}
        return {"version": world.VERSION, "models": models}

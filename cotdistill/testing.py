"""The kit a plug-in author runs: `check_strategy(strategy, tokenizer)` proves what every strategy must hold;
`check_data_set(name)` and `check_checker(name, data)` do so for question rows and for a checkable task.

It needs a tokenizer, no model and no torch. `AssertionError` names the first thing that does not hold.
"""

from __future__ import annotations

import sys
from typing import Any

from cotdistill.data.records import Example, Item, Rationale, RationaleKind
from cotdistill.data.tasks import load_examples
from cotdistill.plugins.checkers import Checker
from cotdistill.plugins.kinds import CHECKERS, DATA
from cotdistill.seeds import derive
from cotdistill.strategies.forms import SLOTS, FillContext, Strategy
from cotdistill.strategies.join import Sample, join
from cotdistill.strategies.scores import word_scores
from cotdistill.students.encode import Encoder, TokenTree
from cotdistill.students.tokens import SegmentTokenizer

KINDS: tuple[RationaleKind, RationaleKind] = ("factual", "counterfactual")
ITEMS = tuple(
    Item(
        id=f"check-{at}",
        task="check",
        split=None,
        question=f"Which of these holds {thing}?",
        choices=("a shed", "the kitchen", "a garden"),
        answer=gold,
        rationales=tuple(
            Rationale(
                kind=kind,
                text=f"{thing.capitalize()} is kept where people need it. That is {answer}.",
                answer=answer,
                correct=True,
                label="keep",
                teacher="check",
                decoding={},
                prompt=None,
                finished=True,
            )
            for kind, answer in zip(KINDS, (gold, wrong), strict=True)
        ),
    )
    for at, (thing, gold, wrong) in enumerate(
        [
            ("a drill", "a shed", "the kitchen"),
            ("a spoon", "the kitchen", "a garden"),
            ("3.5 l of water", "a garden", "a shed"),
        ]
    )
)


def check_strategy(strategy: Strategy, tokenizer: Any, encoder_decoder: bool = False) -> int:
    """Check one strategy with one tokenizer; returns how many segments joint tokenisation would spell differently.

    Shares sum to 1 (the Strategy itself refuses otherwise), every slot it names is filled, no gold answer leaks
    into a walked source, the plan reaches {answer}, the ids asked at inference are a prefix of the ids trained on,
    the same seed gives the same encoding, every form has a learned token.
    """
    _check_plan(strategy)
    tokens = SegmentTokenizer(tokenizer, encoder_decoder)
    start = tokens.pad if encoder_decoder else None
    encoder = Encoder(tokens, start, sharing="none")
    samples, _ = join(ITEMS, strategy)
    assert samples, f"{strategy.name}: the join gives no sample"
    first, second = (_encode(encoder, strategy, samples, seed) for seed in (0, 0))
    assert [ids(tree) for tree in first] == [ids(tree) for tree in second], "the same seed encodes differently"
    _check_prompts(encoder, strategy, samples)
    return _spelled_differently(encoder, strategy, samples)


def check_data_set(name: str, limit: int = 100) -> int:
    """Check a registered data set on the first rows of each split; returns how many rows there were.

    Every split has rows, which hold what the row contract asks for, name their split and come again in the same order;
    no question of an evaluated split, with the same choices, is in one that is learned from.
    """
    data_set = DATA.get(name).value
    assert data_set is not None
    rows = {split: load_examples(name, split, limit) for split in data_set.splits}
    for split, examples in rows.items():
        assert examples, f"{name}: the split {split} is empty"
        assert examples == load_examples(name, split, limit), f"{name}: {split} gives other rows the second time"
        assert all(example.split == split for example in examples), f"{name}: rows of {split} name another split"
    learned = {_content(example) for split in (data_set.train, data_set.dev) if split for example in rows[split]}
    for split in data_set.evaluated:
        shared = [example.question for example in rows[split] if _content(example) in learned]
        assert not shared, f"{name}: {shared[0]!r} of {split} is learned from"
    return sum(map(len, rows.values()))


def _content(example: Example) -> tuple[str, frozenset[str]]:
    return example.question, frozenset(example.choices or ())


def check_checker(name: str, data: str, limit: int = 100) -> int:
    """Check a registered checker on a data set's questions; returns how many of its rationales were proofs.

    It knows every question and no empty one, the rows' own rationales support their answers and are sound, nothing is
    not, what it argues for an answer supports that answer and is sound exactly where the answer is right, and what it
    rewords is another text, the same each time.
    """
    checker, proofs = CHECKERS.get(name).value, 0
    assert checker is not None
    assert not checker.knows(""), f"{name}: knows the empty question, so it would check those of other tasks"
    for example in load_examples(data, None, limit):
        question, choices = example.question, example.choices
        empty = checker.check(question, choices, "")
        assert empty is not None, f"{name}: does not know {question!r}"
        assert not empty.sound, f"{name}: an empty rationale is a proof of {question!r}"
        assert empty.supports is None, f"{name}: an empty rationale supports {empty.supports!r}"
        argued = [(example.answer, example.rationale), *_argued(checker, example)]
        for answer, rationale in argued:
            if not rationale:
                continue
            verdict = checker.check(question, choices, rationale)
            assert verdict is not None
            assert verdict.supports == answer, f"{name}: {rationale!r} supports {verdict.supports!r}, not {answer!r}"
            assert verdict.sound == (answer == example.answer), f"{name}: {rationale!r} is judged the wrong way round"
            proofs += verdict.sound
            other = checker.paraphrase(question, rationale)
            assert other is None or (other.strip() and other != rationale), f"{name}: {rationale!r} is not reworded"
            assert checker.paraphrase(question, rationale) == other, f"{name}: {rationale!r} is reworded by chance"
    assert proofs, f"{name}: no rationale of {data} is a proof"
    return proofs


def _argued(checker: Checker, example: Example) -> list[tuple[str, str | None]]:
    """What a checker argues for the right answer, and for the wrong choices."""
    wrong = [choice for choice in example.choices or () if choice != example.answer]
    return [(answer, checker.argue(example.question, answer)) for answer in (example.answer, *wrong)]


def check_imports(module: str) -> None:
    """A strategy's module must not import torch. Run it in a fresh interpreter."""
    assert module in sys.modules, f"{module} is not imported"
    assert "torch" not in sys.modules, f"importing {module} imported torch: strategies are data"


def _check_plan(strategy: Strategy) -> None:
    filled: set[str] = set()
    for name in strategy.plan:
        form = strategy.form(name)
        assert "answer" not in form.source_slots(), f"{strategy.name}/{name}: the gold answer appears in a source"
        missing = form.source_slots() - filled
        assert not missing, f"{strategy.name}/{name}: the walk reaches it before {missing} is filled"
        filled |= {part.slot for part in form.target if part.slot}
    assert "answer" in filled, f"{strategy.name}: the plan never reaches {{answer}}"
    assert strategy.form(strategy.plan[0]).kind == "factual", f"{strategy.name}: the plan walks a counterfactual form"


def _encode(encoder: Encoder, strategy: Strategy, samples: list[Sample], seed: int) -> list[TokenTree]:
    context = FillContext(derive(seed, "check"), encoder.tokens.segment, word_scores_or_lengths(strategy))
    for sample in samples:
        for kind, draft in sample.drafts.items():
            slots = strategy.fill(draft, context)
            named = {slot for form in strategy.learned_forms() if form.kind == kind for slot in form.slots()}
            assert named <= set(slots), f"{strategy.name}: fill leaves {named - set(slots)} empty"
            assert set(slots) <= set(SLOTS), f"{strategy.name}: fill gives unknown slots {set(slots) - set(SLOTS)}"
    data = encoder.encode(samples, strategy, context)
    assert not data.dropped, f"{strategy.name}: {dict(data.dropped)}"
    assert all(data.learned_tokens().values()), f"{strategy.name}: a form learns nothing"
    return [tree for sample in data.samples for tree in sample]


def word_scores_or_lengths(strategy: Strategy) -> Any:
    """tf-idf where the strategy asks for it; word lengths replace attributions, which need a model."""
    if strategy.needs_scores in (None, "tfidf"):
        return word_scores(strategy, ITEMS)
    return lambda example_id, text, answer: [float(len(word)) for word in text.split()]


def _check_prompts(encoder: Encoder, strategy: Strategy, samples: list[Sample]) -> None:
    """Fact 7: what is asked at inference is what was trained on, as ids."""
    context = FillContext(derive(0, "check"), encoder.tokens.segment, word_scores_or_lengths(strategy))
    data = encoder.encode(samples, strategy, context)
    learned = [form.name for form in data.forms]
    for name in (*strategy.plan, *(strategy.explain or ())):
        if name not in learned:
            continue
        form = strategy.form(name)
        for sample, trees in zip(samples, data.samples, strict=True):
            draft = sample.drafts[form.kind]
            source, prompt = encoder.prompt(form, draft.example, strategy.fill(draft, context))
            tree = next(tree for tree in trees if learned.index(name) in tree.forms)
            assert tree.ids[: len(prompt)].tolist() == prompt, f"{strategy.name}/{name}: train and walk prompts differ"
            if source is not None:
                assert tree.source is not None
                assert tree.source.tolist() == source, f"{strategy.name}/{name}: train and walk sources differ"


def _spelled_differently(encoder: Encoder, strategy: Strategy, samples: list[Sample]) -> int:
    """Segments are the truth; where joint tokenisation differs it is counted."""
    context = FillContext(derive(0, "check"), encoder.tokens.segment, word_scores_or_lengths(strategy))
    count = 0
    for form in strategy.learned_forms():
        for sample in samples:
            draft = sample.drafts[form.kind]
            slots = strategy.fill(draft, context)
            if not all(isinstance(value, str) for value in slots.values()):
                continue  # token-level rewriting has no joint text
            texts = [
                part.text.replace("{rationale}", str(slots["rationale"])).replace("{answer}", str(slots["answer"]))
                for part in form.target
            ]
            joint = encoder.tokens.segment("".join(texts))
            count += joint != tuple(token for text in texts for token in encoder.tokens.segment(text))
    return count


def ids(tree: TokenTree) -> tuple[bytes, ...]:
    """An encoding as comparable bytes."""
    source = b"" if tree.source is None else tree.source.tobytes()
    return (tree.ids.tobytes(), tree.positions.tobytes(), tree.tokens.tobytes(), tree.weights.tobytes(), source)

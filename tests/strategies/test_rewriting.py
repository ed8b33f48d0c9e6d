"""Every strategy can be given any rewrite: what is learned changes as the rewrite says, and nothing else does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdistill.data.records import Item
from cotdistill.errors import UsageError
from cotdistill.plugins.files import load_plugin
from cotdistill.strategies.forms import FillContext, Strategy
from cotdistill.strategies.grids import Variant, dose, size_matched, variants
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create, entries
from cotdistill.strategies.rewrites import PLACEHOLDER
from cotdistill.strategies.rewriting import rewrite_of
from cotdistill.strategies.units import steps, units
from tests.in_process import run
from tests.models import items, student
from tests.strategies.test_rewrites import LONG, context, draft

EXAMPLE = Path(__file__).parents[2] / "examples" / "backwards.py"
WITH_RATIONALE = [
    entry.name
    for entry in entries()
    if entry.code is None and any(slot == "rationale" for _, slot in create(entry.name).needs())
]
TEXTS = st.lists(st.text("abc1.", min_size=1, max_size=5), min_size=1, max_size=20).map(" ".join)


def learned(strategy: Strategy, rows: list[Item], seed: int = 0) -> list[list[str]]:
    """The words that each form of each sample learns."""
    pupil = student("llama")
    encoder = pupil.encoder(sharing="none")
    scores = lambda row, text, answer: [float(len(word)) for word in text.split()]  # noqa: E731
    data = encoder.encode(join(rows, strategy)[0], strategy, FillContext(seed, pupil.tokens.segment, scores))
    return [sorted(pupil.tokens.text(tree.tokens.tolist()).split()) for trees in data.samples for tree in trees]


@pytest.mark.parametrize("name", WITH_RATIONALE)
def test_a_shuffled_rationale_keeps_what_is_learned_and_changes_its_order(name: str) -> None:
    if create(name).needs_scores:
        return
    plain, shuffled = create(name), create(name, {"rewrite": "permute:word"})
    assert shuffled.params["rewrite"] == "permute:word"
    rows = items(4)
    pupil = student("llama")

    def filled(strategy: Strategy) -> list[str]:
        (sample, *_), _ = join(rows, strategy)
        one = next(iter(sample.drafts.values()))
        value = strategy.fill(one, FillContext(0, pupil.tokens.segment))["rationale"]
        return [value] if isinstance(value, str) else [pupil.tokens.text(value.ids)]

    (before,), (after,) = filled(plain), filled(shuffled)
    assert before != after
    if name not in ("post-cot-permuted", "post-cot-masked", "post-cot-random-k"):  # these draw from what they are given
        assert Counter(before.split()) == Counter(after.split())


def test_old_names_are_post_cot_with_a_rewrite() -> None:
    rows = items(6)
    for old, params, rewrite in (
        ("post-cot-permuted", {"level": "sentence"}, "permute:sentence"),
        ("post-cot-masked", {"ratio": 0.25}, "mask:0.25"),
        ("post-cot-key", {"k": 3}, "key:3"),
        ("post-cot-random-k", {"k": 3}, "random:3"),
    ):
        assert learned(create(old, params), rows) == learned(create("post-cot", {"rewrite": rewrite}), rows)
        assert learned(create(old, params), rows) != learned(create("post-cot"), rows) or "permuted" in old


def test_a_strategy_without_rationale_and_malformed_rewrites_are_refused() -> None:
    for name, text, message in (
        ("answer-only", "permute", "learns no rationale"),
        ("post-cot-key", "key:2", "rewritten already"),
        ("cot", "permut", "did you mean"),
        ("cot", "permute:sentense", "level is one of"),
        ("cot", "permute:word:2", "permute takes level"),
        ("cot", "key", "needs a value for k"),
        ("cot", "mask:1.5", "between 0 and 1"),
        ("cot", "truncate:nan", "a number of at most"),
        ("cot", "matched:nothing", "unknown rewrite"),
        ("cot", "matched:permute:token", "only what leaves words"),
    ):
        with pytest.raises(UsageError, match=message):
            create(name, {"rewrite": text})


def test_tokens_with_weights_of_their_own_are_not_shuffled() -> None:
    for name, text in (("edit-krsl", "permute:token"), ("icot-si", "backward"), ("backward-cot", "vanish")):
        with pytest.raises(UsageError, match="single tokens"):
            create(name, {"rewrite": text})
    assert learned(create("edit-krsl", {"rewrite": "permute:word"}), items(2))


def test_steps_are_lines_or_numbered_or_sentences() -> None:
    assert steps("one\n\ntwo b\n").texts == ["one", "two b"]
    assert steps("Step 1: add 2. Then 3. Step 2: stop.").texts == ["Step 1: add 2. Then 3.", "Step 2: stop."]
    assert steps("A is B. C is D.").texts == ["A is B.", "C is D."]
    lines = "first\nsecond\nthird\nfourth"
    rewritten = str(rewrite_of("permute:step")(draft(lines), context()))
    assert sorted(rewritten.splitlines()) == sorted(lines.splitlines())
    assert rewritten != lines


@given(TEXTS, st.floats(0, 1))
def test_truncated_text_is_a_prefix_and_never_empty(text: str, share: float) -> None:
    found = str(rewrite_of(f"truncate:{share}")(draft(text), context()))
    assert text.startswith(found) or found == PLACEHOLDER
    assert found


@given(TEXTS, st.floats(0, 1), st.integers(0, 50))
def test_deleted_words_leave_the_others_in_order(text: str, share: float, seed: int) -> None:
    found = str(rewrite_of(f"delete:{share}")(draft(text), context(seed))).split()
    rest = iter(text.split())
    assert found == [PLACEHOLDER] or all(word in rest for word in found)
    assert len(found) == max(1, len(text.split()) - int(share * len(text.split())))


@given(TEXTS, st.sampled_from(["truncate:0.5", "delete:0.5:step", "drop-numbers"]))
def test_the_control_keeps_as_many_words(text: str, rewrite: str) -> None:
    made = rewrite_of(rewrite)
    assert made.matched is not None
    left, control = (str(one(draft(text), context())) for one in (made, rewrite_of(made.matched)))
    assert len(control.split()) == min(len(left.split()), len(text.split()))


def test_numbers_are_dropped() -> None:
    assert rewrite_of("drop-numbers")(draft("3 apples and 4.5 kg is 7"), context()) == "apples and kg is"
    assert rewrite_of("drop-numbers")(draft("3 4"), context()) == PLACEHOLDER


def test_a_grid_adds_each_rewrite_to_each_strategy_with_its_control() -> None:
    made = variants(["answer-only", "cot", "cascod"], {}, rewrites=["permute:step", "truncate:0.5"])
    assert [variant.label for variant in made] == [
        "answer-only",
        "cot",
        "cascod",
        *(
            f"{name}(rewrite={rewrite})"
            for name in ("cot", "cascod")
            for rewrite in ("permute:step", "truncate:0.5", "matched:truncate:0.5:word")
        ),
    ]
    cut = Variant("cot", {"rewrite": "truncate:0.5"})
    assert size_matched(cut, made) == Variant("cot", {"rewrite": "matched:truncate:0.5:word"})
    assert size_matched(Variant("cot", {"rewrite": "permute:step"}), made) is None
    assert dose(cut) == ("cot: truncate", "share of the words kept", 0.5)
    assert [one.label for one in variants([], {}, rewrites=["permute"])] == ["post-cot", "post-cot(rewrite=permute)"]
    none = variants(["answer-only", "cot"], {"rewrite": ["none", "mask:0.5"]})
    assert [one.label for one in none] == ["answer-only", "cot", "cot(rewrite=mask:0.5)"]


def test_a_rewrite_of_a_plug_in_counts_by_its_code() -> None:
    load_plugin(EXAMPLE)
    made = create("cot", {"rewrite": "backwards"})
    assert made.code is not None
    assert made.code == create("cascod", {"rewrite": "matched:backwards"}).code
    assert made.fill(draft(LONG), context())["rationale"] == " ".join(LONG.split()[::-1])
    assert units(LONG, "sentence").texts[::-1] == str(
        create("cot", {"rewrite": "backwards:sentence"}).fill(draft(LONG), context())["rationale"]
    ).replace(". ", ".|").split("|")


def test_a_broken_rewrite_is_one_line(tmp_path: Path) -> None:
    plugin = tmp_path / "broken_rewrite.py"
    plugin.write_text(
        "from cotdistill.plugins import rewrite\nfrom cotdistill.strategies.rewrites import Rewrite\n\n"
        '@rewrite("to-nothing")\ndef to_nothing():\n    return Rewrite(lambda draft, context: None)\n'
    )
    done = run("preview", "--plugin", str(plugin), "--strategy", "cot", "--rewrite", "to-nothing")
    assert done.code == 2
    assert "not text or Tokens" in done.err


def test_words_scored_by_gradients_are_estimated_before_there_are_scores() -> None:
    done = run(
        *("ablate", "--strategies", "cot", "--rewrite", "key:3:gradient-input", "--limit", "24", "--steps", "2"),
        *("--no-controls", "--dry-run"),
    )
    assert done.code == 0, done.err
    assert "cot(rewrite=key:3:gradient-input)" in done.err

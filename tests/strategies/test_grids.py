"""What the options of ablate spell, and that every study names arms of its own grid."""

from __future__ import annotations

import pytest

from cotdistill.config import AblateConfig
from cotdistill.errors import UsageError
from cotdistill.grid.arms import Arm, arms, baseline, resolve_study
from cotdistill.grid.axes import candidates
from cotdistill.strategies.grids import Variant, ablated_variant, dose, size_matched, variants
from cotdistill.strategies.studies import AT_BUDGET, STUDIES, study


def labels(**options: object) -> list[str]:
    return [arm.label for arm in arms(resolve_study(AblateConfig.build(**options))[0])]


def test_the_product_of_strategies_parameters_and_rows() -> None:
    found = labels(
        strategies=["cot", "scott"],
        param={"alpha": ["0.1", "0.5"]},
        controls=False,
        teacher_decoding=["greedy", "contrastive"],
        train_size=[0.5, 1],
    )
    notes = ("", " [contrastive rationales]", " [50 % of the rows]", " [contrastive rationales, 50 % of the rows]")
    assert found == [variant + note for note in notes for variant in ("cot", "scott(alpha=0.1)", "scott")]


def test_a_parameter_of_one_strategy_only() -> None:
    found = labels(strategies=["cascod", "step-by-step"], param={"cascod.alpha": ["0.1", "0.3"]}, controls=False)
    assert found == ["cascod(alpha=0.1)", "cascod", "step-by-step"]
    with pytest.raises(UsageError, match=r"--param alpah: .*did you mean"):
        labels(strategies=["cascod"], param={"alpah": ["1"]})


def test_key_words_never_come_without_as_many_random_ones() -> None:
    found = labels(key_tokens=[1, 3], key_by=["tfidf", "gradient-input", "random"], controls=False)
    assert found == [
        "post-cot",
        "post-cot-key(k=1)",
        "post-cot-key(k=3)",
        "post-cot-key(k=1, by=gradient-input)",
        "post-cot-key(k=3, by=gradient-input)",
        "post-cot-random-k(k=1)",
        "post-cot-random-k(k=3)",
    ]
    made = variants([], {}, key_counts=[3], exclude_label=True)
    key = next(one for one in made if one.strategy == "post-cot-key")
    matched = size_matched(key, made)
    assert matched is not None
    assert matched.label == "post-cot-random-k(k=3, exclude_label=True)"


def test_controls_are_of_what_is_ablated_and_answer_only_reads_no_decoding() -> None:
    found = labels(strategies=["cot"], permute_tokens=True, teacher_decoding=["greedy", "contrastive"])
    controls = [label for label in found if any(word in label for word in ("swapped", "random words", "shuffled"))]
    assert controls == ["post-cot [swapped rationales]", "post-cot [random words]", "post-cot [shuffled labels]"]
    assert found.count("answer-only") == 1
    assert not any("answer-only [contrastive" in label for label in found)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_its_claims_arms_controls_and_baseline_in_its_grid(name: str) -> None:
    config, found = resolve_study(AblateConfig.build(study=name))
    made = arms(config)
    known = [arm.label for arm in made]
    assert found is not None
    assert len(known) >= (8 if found.controlled else 4)
    for claim in found.claims:
        assert {claim.name, claim.baseline} <= set(known)
        budgets = {one.partition(AT_BUDGET)[2] for one in (claim.measure, claim.against or "")} - {""}
        assert budgets <= {str(budget) for budget in config.evaluate.think_budgets}
    assert sum(arm.control is not None for arm in made) == (3 if found.controlled else 0)
    assert baseline(config, made).label == config.baseline


def test_given_options_win_over_a_studys() -> None:
    config, _ = resolve_study(AblateConfig.build(study="mysteries", key_tokens=[2], lr=1e-3))
    assert config.key_tokens == (2,)
    assert config.mask_tokens == (0.5, 1.0)
    assert config.lr == 1e-3


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="mysteries"):
        study("mystery")
    config = AblateConfig.build(strategies=["cot"], baseline="cots")
    with pytest.raises(UsageError, match=r"--baseline cots: unknown arm"):
        baseline(config, arms(config))
    with pytest.raises(UsageError, match="--sweep epochs"):
        candidates(AblateConfig.build(sweep={"epochs": [1.0]}).sweep)


def test_subjects_and_doses() -> None:
    made = variants(["answer-only", "cot"], {}, mask_ratios=[0.25])
    assert ablated_variant(made) == Variant("post-cot")
    assert ablated_variant([Variant("answer-only")]) is None
    assert [dose(one) for one in made] == [None, None, None, ("masked words", "share of the words masked", 0.25)]


def test_labels_name_the_student_only_where_students_are_compared() -> None:
    assert Arm(Variant("cot"), "t5-small").label == "cot"
    assert labels(strategies=["cot"], student=["demo", "gpt2"], controls=False) == ["cot [demo]", "cot [gpt2]"]


@pytest.mark.parametrize(
    ("options", "base", "controls_of"),
    [
        ({"strategies": ["cot", "cascod", "post-cot-permuted"]}, "cot", "cot"),
        ({"strategies": ["cot", "post-cot", "post-cot-permuted"]}, "cot", "post-cot"),
        ({"strategies": ["cascod", "cot"], "permute_tokens": True}, "cascod", "post-cot"),
        ({"strategies": ["answer-only", "cot"]}, "answer-only", "cot"),
        ({"strategies": ["cascod"], "param": {"alpha": ["0.1", "0.5"]}}, "cascod(alpha=0.1)", "cascod(alpha=0.1)"),
        ({"permute_tokens": True}, "post-cot", "post-cot"),
        ({}, "cot", "cot"),
        ({"study": "cascod", "strategies": ["post-cot", "scott"]}, "post-cot", "post-cot"),
        ({"study": "cascod", "strategies": ["post-cot", "cot"]}, "cot", "cot"),
    ],
    ids=str,
)
def test_the_baseline_is_the_first_strategy_named_and_controls_stand_beside_their_twin(
    options: dict[str, object], base: str, controls_of: str
) -> None:
    config, _ = resolve_study(AblateConfig.build(**options))
    made = arms(config)
    assert baseline(config, made).label == base
    assert {arm.variant.label for arm in made if arm.control} <= {controls_of}
    assert controls_of in [arm.label for arm in made]

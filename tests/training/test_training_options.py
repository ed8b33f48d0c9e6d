"""LoRA, recipes, trackers, dev accuracy, memory limits and what is refused."""

from __future__ import annotations

import json
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, XGLMConfig, XGLMForCausalLM

from cotdistill.config import DEMO, DistillConfig
from cotdistill.errors import Unavailable, UsageError
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from cotdistill.training.accelerators import has_dropout
from cotdistill.training.divergence import Diverged, LossWatch
from cotdistill.training.lora import Lora, attach, merge, parse_lora
from cotdistill.training.memory import release_memory
from cotdistill.training.optimizers import clip_in_step, learning_rate, optimizer_for
from cotdistill.training.recipes import RECIPES, resolve_training
from cotdistill.training.train import GIB, Loop
from tests.in_process import run
from tests.models import items, student
from tests.training.learning import distance, encode, step_gradient


def config(**changes: Any) -> DistillConfig:
    return DistillConfig(**{"steps": 6, "batch_size": 4, "lr": 1e-3, "device": "cpu", **changes})


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_lora_trains_adapters_only_and_merges_into_a_plain_model(family: str, tmp_path: Path) -> None:
    pupil = student(family)
    base = {name: value.clone() for name, value in pupil.model.state_dict().items()}
    attach(pupil, parse_lora("r=4,alpha=8"))
    trained = [name for name, value in pupil.model.named_parameters() if value.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    _, plain = step_gradient(pupil, encode(pupil, "cascod", sharing="none"), budget=1, plain=True)
    assert distance(step_gradient(pupil, encode(pupil, "cascod"))[1], plain) < 1e-4
    Loop(pupil, encode(pupil, "cascod"), config(checkpoint_every=3), tmp_path).run()
    frozen = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): value
        for name, value in pupil.model.state_dict().items()
        if "lora_" not in name
    }
    assert all(torch.equal(frozen[name], value) for name, value in base.items() if name in frozen)
    after, _ = step_gradient(pupil, encode(pupil, "cascod"))
    merge(pupil)
    pupil.save(tmp_path / "student")
    auto = AutoModelForSeq2SeqLM if pupil.encoder_decoder else AutoModelForCausalLM
    assert not any("lora" in name for name, _ in auto.from_pretrained(tmp_path / "student").named_parameters())
    again = load_student(str(tmp_path / "student"))
    assert step_gradient(again, encode(again, "cascod"))[0] == pytest.approx(after, rel=1e-4)


def test_lora_options_are_checked() -> None:
    assert parse_lora("r=64,alpha=32,target=q_proj+v_proj") == Lora(64, 32, 0.0, ("q_proj", "v_proj"))
    for text in ("rank=3", "r=three", "r"):
        with pytest.raises(UsageError, match="--lora"):
            parse_lora(text)


def test_lora_adapts_every_linear_layer_where_asked() -> None:
    pupil = student("llama")
    attach(pupil, parse_lora("r=2,target=all-linear"))
    adapted = {name.split(".")[-4] for name, _ in pupil.model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize(
    ("base", "lora", "said"),
    [
        (
            "llama",
            "target=q_prj+v_proj",
            "--lora: the model has no module 'q_prj' (did you mean \"q_proj\"?); there are "
            "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj, or target=all-linear",
        ),
        (
            "gpt2",
            "target=q_proj",
            "--lora: the model has no module 'q_proj' (did you mean \"c_proj\"?); there are c_attn, "
            "c_fc, c_proj, or target=all-linear",
        ),
        ("llama", "target=", "--lora: target takes NAME+NAME or all-linear, not an empty name"),
        ("llama", "r=0", "--lora: r and alpha must be at least 1, not r=0,alpha=32"),
        ("llama", "dropout=nan", "--lora: dropout must be in [0, 1), not nan"),
        (
            "xglm",
            "r=2",
            "--lora: no default targets for xglm models; choose target=all-linear or some of fc1, fc2, "
            "k_proj, out_proj, q_proj, v_proj",
        ),
    ],
)
def test_lora_targets_that_cannot_be_meant_are_refused(base: str, lora: str, said: str, tmp_path: Path) -> None:
    if base == "xglm":
        words = student("gpt2").tokenizer
        made = XGLMConfig(
            vocab_size=len(words), d_model=32, ffn_dim=64, num_layers=1, attention_heads=2, max_position_embeddings=512
        )
        Student(XGLMForCausalLM(made), words).save(tmp_path / "base")
    else:
        student(base).save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(4)))
    done = run(
        "distill",
        str(tmp_path / "rows.jsonl"),
        "--student",
        str(tmp_path / "base"),
        "--lora",
        lora,
        "--steps",
        "1",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    )
    assert (done.code, done.errors) == (2, [f"error: {said}"])
    assert not (tmp_path / "run" / "run.json").exists()


def test_recipes_set_what_is_published_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    made, reasons = resolve_training(DistillConfig(recipe="scott"), DEMO)
    assert (made.optimizer, made.lr, made.batch_size, made.epochs, made.warmup, made.clip) == (
        "adafactor",
        3e-5,
        16,
        10,
        0.06,
        1.0,
    )
    assert (made.schedule, made.weight_decay) == ("linear", 0.0)
    assert reasons["lr"] == "recipe scott"
    assert "recipe scott (SCOTT" in capsys.readouterr().err
    assert resolve_training(DistillConfig(recipe="scott", lr=1e-3, steps=5), DEMO)[0].lr == 1e-3
    assert resolve_training(DistillConfig(recipe="scott", steps=5), DEMO)[0].epochs is None
    assert resolve_training(DistillConfig(recipe="step-by-step", epochs=5), DEMO)[0].steps is None
    assert parse_lora(str(resolve_training(DistillConfig(recipe="cascod"), DEMO)[0].lora)).r == 64
    assert resolve_training(DistillConfig(recipe="mysteries"), DEMO)[0].lr == 2e-3
    assert "not published or not found" in capsys.readouterr().err
    for recipe in RECIPES.values():
        assert set(recipe.values) | set(recipe.unknown) <= set(DistillConfig.model_fields)
        assert not set(recipe.values) & set(recipe.unknown)
        DistillConfig(**recipe.values)  # every value is one


def test_the_public_codes_step_schedule_decays_once_an_epoch_and_clips_nothing() -> None:
    made, _ = resolve_training(DistillConfig(recipe="cascod"), DEMO)
    assert [learning_rate(made, step, 100, step // 10) for step in (0, 9, 10, 25)] == pytest.approx(
        [2e-4, 2e-4, 2e-4 * 0.95, 2e-4 * 0.95**2]
    )
    assert made.clip == 0


@pytest.mark.parametrize(
    ("given", "lr", "epochs", "why"),
    [
        ({}, 5e-5, 3, "defaults for full fine-tuning of 0 M parameters"),
        ({"lora": "r=4"}, 2e-4, 3, "defaults for LoRA"),
        ({"lr": 1e-3}, 1e-3, 3, "defaults for full"),
        ({"steps": 7}, 5e-5, None, "defaults for full"),
        ({"recipe": "scott"}, 3e-5, 10, "recipe scott"),
    ],
)
def test_what_nobody_gave_depends_on_what_the_student_is(
    given: dict[str, Any], lr: float, epochs: float | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student("gpt2").save(tmp_path)
    made, reasons = resolve_training(DistillConfig(**given), str(tmp_path))
    assert (made.lr, made.epochs) == (lr, epochs)
    assert not set(given) & set(reasons)
    assert any(one.startswith(why) for one in reasons.values())
    said = capsys.readouterr().err
    assert ("override it with an option or --recipe" in said) == ("recipe" not in given)
    embedded, reasons = resolve_training(DistillConfig(), DEMO)
    assert (embedded.lr, embedded.epochs, reasons["lr"]) == (2e-3, 10, "the embedded student's")


def test_a_large_student_gets_a_smaller_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student("llama").save(tmp_path)
    monkeypatch.setattr("cotdistill.training.recipes.BILLION", 10)
    assert resolve_training(DistillConfig(), str(tmp_path))[0].lr == 2e-5
    assert resolve_training(DistillConfig(lora="r=4"), str(tmp_path))[0].lr == 2e-4


def test_training_that_makes_the_loss_worse_is_stopped(tmp_path: Path) -> None:
    pupil = student("llama")
    data = encode(pupil, "cot", count=8)
    Loop(pupil, data, config(steps=60), tmp_path / "good").run()  # now a rate of 1 can only do harm
    harmful = config(lr=1.0, steps=60, schedule="constant")
    with pytest.raises(
        Diverged,
        match=r"training diverged: at step \d+ the loss of the first examples is .*"
        r"use a lower --lr",
    ):
        Loop(pupil, data, harmful, tmp_path / "bad").run()
    lines = [json.loads(line) for line in (tmp_path / "bad" / "metrics.jsonl").read_text().splitlines()]
    assert 8 <= len(lines) < 60
    assert all(line["loss"] > lines[0]["loss"] for line in lines[-7:])
    Loop(pupil, data, harmful.model_copy(update={"allow_divergence": True, "steps": 20}), tmp_path / "ugly").run()


def test_a_noisy_loss_is_no_divergence() -> None:
    watch = LossWatch(warm=2)
    again = []

    def first_again() -> float:
        again.append(1)
        return 1.9

    for step, loss in enumerate([2.0, 5.0, 5.0, *[2.5] * 16], 1):  # an easy first batch, and it did become easier
        watch.check(step, loss, first_again)
    assert len(again) == 2
    with pytest.raises(Diverged, match="the loss is inf at step 20"):
        watch.check(20, float("inf"), first_again)


@pytest.mark.parametrize(("now", "diverged"), [(-0.1, False), (0.05, True)])
def test_what_had_been_learned_already_may_wobble(now: float, diverged: bool) -> None:
    """A second stage begins near the end of what there is to learn: its first loss is no bar for a student."""
    watch = LossWatch(warm=0)
    with pytest.raises(Diverged) if diverged else nullcontext():
        for step, loss in enumerate([-0.108, *[-0.02] * 20], 1):
            watch.check(step, loss, lambda: now)


def test_schedules_and_optimizers() -> None:
    for schedule in ("linear", "cosine", "constant"):
        made = config(schedule=schedule, warmup=0.5)
        rates = [learning_rate(made, step, 10) for step in range(10)]
        assert rates[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])
        assert rates[5] == pytest.approx(1e-3)
        assert (rates[-1] == 1e-3) == (schedule == "constant")
        assert rates[5:] == sorted(rates[5:], reverse=True)
    pupil = student("gpt2")
    groups = optimizer_for(pupil.model, config()).param_groups
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert sum(p.numel() for group in groups for p in group["params"]) == pupil.model.num_parameters()
    adafactor = optimizer_for(pupil.model, config(optimizer="adafactor")).param_groups[0]
    assert (adafactor["scale_parameter"], adafactor["relative_step"]) == (False, False)


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_clipping_inside_the_update_is_clipping_before_it(limit: float) -> None:
    weights = []
    for inside in (True, False):
        pupil = student("gpt2")
        optimizer = optimizer_for(pupil.model, config())
        for _ in range(2):
            step_gradient(pupil, encode(pupil, "cot"))
            if inside:
                clip_in_step(pupil.model, optimizer, limit)
            else:
                torch.nn.utils.clip_grad_norm_(pupil.model.parameters(), limit)
            optimizer.step()
        weights.append(torch.cat([p.detach().flatten() for p in pupil.model.parameters()]))
    assert distance(weights[0], weights[1]) < 1e-6


def test_tensorboard_gets_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pupil = student("gpt2")
    Loop(pupil, encode(pupil, "cascod"), config(track=("tensorboard",)), tmp_path).run()
    folder = next((tmp_path / "track").rglob("events.out.*")).parent
    events = EventAccumulator(str(folder))
    events.Reload()
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [event.step for event in events.Scalars("loss")] == [line["step"] for line in logged]
    assert [event.value for event in events.Scalars("losses/rationale")] == pytest.approx(
        [line["losses"]["rationale"] for line in logged], rel=1e-6
    )


@pytest.mark.parametrize("store", ["file:{}/store", "sqlite:///{}/store.db"])
def test_mlflow_gets_the_curves_in_any_of_its_stores(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(store.format(tmp_path))
    pupil = student("gpt2")
    Loop(pupil, encode(pupil, "cascod"), config(track=("mlflow",)), tmp_path / "run").run()
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (told,) = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("cotdistill").experiment_id])
    for name, last in {"loss": logged[-1]["loss"], "losses/answer": logged[-1]["losses"]["answer"]}.items():
        assert told.data.metrics[name] == pytest.approx(last)


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_tracker_that_is_not_installed_is_unavailable(tmp_path: Path) -> None:
    pupil = student("gpt2")
    with pytest.raises(Unavailable, match="wandb"):
        Loop(pupil, encode(pupil, "cot"), config(track=("wandb",)), tmp_path).run()


def test_dev_accuracy_chooses_the_weights_and_stops_early(tmp_path: Path) -> None:
    pupil = student("gpt2")
    accuracies, weights = iter([0.2, 0.6, 0.5, 0.6, 0.9]), []

    def accuracy(seen: Any) -> float:
        assert seen.model.config._attn_implementation != "cotdistill_packed"
        assert not seen.model.training
        weights.append(next(iter(seen.model.parameters())).detach().clone())
        return next(accuracies)

    made = config(steps=20, dev_every=2, patience=2, checkpoint_every=50)
    done = Loop(pupil, encode(pupil, "cot"), made, tmp_path, dev_accuracy=accuracy).run()
    assert (done.steps, done.best_step, done.dev_accuracy) == (8, 4, 0.6)  # an equal one is not a better one
    assert torch.equal(next(iter(pupil.model.parameters())), weights[1])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["dev_accuracy"] for line in lines if "dev_accuracy" in line] == [0.2, 0.6, 0.5, 0.6]


def test_stopped_early_stays_stopped(tmp_path: Path) -> None:
    made = config(steps=20, dev_every=2, patience=1, checkpoint_every=1)
    for _ in range(2):
        pupil = student("gpt2")
        done = Loop(pupil, encode(pupil, "cot"), made, tmp_path, dev_accuracy=lambda _: 0.5).run()
        assert (done.steps, done.best_step) == (4, 2)


def test_too_little_memory_halves_the_micro_batches_and_gives_the_same_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, **changes: Any) -> list[str]:
        pupil = student("gpt2", width=256, layers=4)
        Loop(
            pupil,
            encode(pupil, "cot", count=24),
            config(steps=2, batch_size=24, token_budget=8192, **changes),
            tmp_path / name,
        ).run()
        return (tmp_path / name / "metrics.jsonl").read_text().splitlines()

    whole = [json.loads(line) for line in run("whole")]
    release_memory()
    room = psutil.Process().memory_info().rss + (
        230 << 20
    )  # weights, optimizer state, a small micro-batch and oneDNN's kernels for its shapes
    halved = [json.loads(line) for line in run("halved", max_memory=room / GIB)]
    assert capsys.readouterr().err.count("out of memory") == 1
    assert [line["loss"] for line in halved] == pytest.approx([line["loss"] for line in whole], rel=1e-4)


def test_no_memory_at_all_is_said_with_a_remedy(tmp_path: Path) -> None:
    pupil = student("gpt2")
    with pytest.raises(Unavailable, match="max-length"):
        Loop(pupil, encode(pupil, "cot"), config(max_memory=0.001), tmp_path).run()


def test_checkpointed_activations_give_the_same_gradient() -> None:
    pupil = student("gpt2")
    data = encode(pupil, "cascod")
    pupil.model.train()
    _, kept = step_gradient(pupil, data)
    pupil.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    _, again = step_gradient(pupil, data)
    assert distance(again, kept) < 1e-6


def test_half_precision_is_refused_for_t5_and_bfloat16_trains(tmp_path: Path) -> None:
    pupil = student("t5")
    with pytest.raises(UsageError, match="bfloat16"):
        Loop(pupil, encode(pupil, "cot"), config(dtype="float16"), tmp_path).run()
    for family in ("t5", "llama"):
        pupil = student(family)
        before, _ = step_gradient(pupil, encode(pupil, "cot"))
        Loop(pupil, encode(pupil, "cot"), config(dtype="bfloat16", steps=20), tmp_path / family).run()
        assert step_gradient(pupil, encode(pupil, "cot"))[0] < before
        assert next(pupil.model.parameters()).dtype == torch.float32


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed here")
@pytest.mark.parametrize(
    ("launched", "dtype", "remedy"),
    [
        ("bf16", "float32", "give --dtype bfloat16 and omit --mixed_precision"),
        ("fp16", "bfloat16", "give --dtype float16 and omit --mixed_precision"),
        ("fp8", "bfloat16", "omit --mixed_precision"),
        ("no", "float32", None),
        ("no", "bfloat16", None),
        ("bf16", "bfloat16", None),
    ],
)
def test_the_precision_of_accelerate_launch_is_never_ignored(
    launched: str, dtype: str, remedy: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    pupil = student("gpt2")
    data, asked = encode(pupil, "cot"), config(steps=1, dtype=dtype)
    if remedy is None:
        assert Loop(pupil, data, asked, tmp_path).run().steps == 1
        return
    with pytest.raises(UsageError) as refused:
        Loop(pupil, data, asked, tmp_path).run()
    assert str(refused.value) == (
        f"accelerate launch requests mixed precision {launched}, the run for --dtype "
        f"{dtype}, which is part of its key; {remedy}"
    )


def test_dropout_is_found_in_modules_and_in_rates() -> None:
    pupil = student("gpt2")
    assert not has_dropout(pupil.model)
    assert has_dropout(student("llama", attention_dropout=0.1).model)
    attach(pupil, parse_lora("r=2,dropout=0.1"))
    assert has_dropout(pupil.model)


def test_a_quantised_base_without_its_extra_is_unavailable(tmp_path: Path) -> None:
    student("gpt2").save(tmp_path)
    with pytest.raises(Unavailable, match="quantized"):
        load_student(str(tmp_path), quantize="8bit")

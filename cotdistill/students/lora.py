"""Low-rank adapters through peft: parsing `--lora`, attaching them, merging them on export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cotdistill.errors import UsageError, did_you_mean, missing_extra
from cotdistill.students.families import Student


@dataclass(frozen=True)
class Lora:
    """Rank, scale and what is adapted. `target` None: peft's mapping, as fixed names fail on T5 or GPT-2."""

    r: int = 64
    alpha: int = 32
    dropout: float = 0.0
    target: tuple[str, ...] | None = None


def parse_lora(text: str) -> Lora:
    """`r=64,alpha=32[,dropout=0.05][,target=q_proj+v_proj]`."""
    values: dict[str, Any] = {}
    for pair in text.split(","):
        name, given, value = pair.strip().partition("=")
        if not given or name not in Lora.__dataclass_fields__:
            raise UsageError(
                f"--lora takes r=N,alpha=N[,dropout=X][,target=NAME+NAME], not {pair!r}"
                f"{did_you_mean(name, Lora.__dataclass_fields__)}"
            )
        try:
            values[name] = (
                tuple(value.split("+"))
                if name == "target"
                else float(value)
                if name == "dropout"
                else int(value)
            )
        except ValueError:
            raise UsageError(f"--lora {name} takes a number, not {value!r}") from None
    return Lora(**values)


def attach(student: Student, lora: Lora, seed: int = 0) -> None:
    """Freeze the student's model and train adapters instead. Quantised bases are prepared by peft first."""
    try:
        import peft
    except ImportError as error:
        raise missing_extra("lora", "--lora") from error
    import torch

    from cotdistill.seeds import derive

    torch.manual_seed(derive(seed, "lora"))
    kind = peft.TaskType.SEQ_2_SEQ_LM if student.encoder_decoder else peft.TaskType.CAUSAL_LM
    if getattr(student.model, "is_quantized", False):
        student.model = peft.prepare_model_for_kbit_training(student.model, use_gradient_checkpointing=False)
    settings = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        task_type=kind,
        target_modules=list(lora.target) if lora.target else None,
    )
    try:
        student.model = peft.get_peft_model(student.model, settings)
    except ValueError as error:
        raise UsageError(f"--lora: {str(error).splitlines()[0]}") from None
    student.forget_tests()


def merge(student: Student) -> None:
    """Fold the adapters into the weights: the student is then a plain model again."""
    if hasattr(student.model, "merge_and_unload"):
        student.model = student.model.merge_and_unload()
        student.forget_tests()

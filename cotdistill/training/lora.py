"""Low-rank adapters through peft: parsing `--lora`, attaching them, merging them on export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cotdistill.config import TrainingOptions
from cotdistill.errors import UsageError, did_you_mean, missing_extra
from cotdistill.students.student import Student

ALL = "all-linear"  # peft's name for every linear layer but the head


@dataclass(frozen=True)
class Lora:
    """Rank, scale and adapted modules. `target` None: peft's mapping, as fixed names fail on T5 or GPT-2.

    Raises `UsageError` for a rank below 1, a dropout outside [0, 1) or an empty target.
    """

    r: int = 64
    alpha: int = 32
    dropout: float = 0.0
    target: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.r < 1 or self.alpha < 1:
            raise UsageError(f"--lora: r and alpha must be at least 1, not r={self.r},alpha={self.alpha}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"--lora: dropout must be in [0, 1), not {self.dropout:g}")
        if self.target is not None and not all(self.target):
            raise UsageError("--lora: target takes NAME+NAME or all-linear, not an empty name")


def parse_lora(text: str) -> Lora:
    """`r=64,alpha=32[,dropout=0.05][,target=q_proj+v_proj|all-linear]`."""
    values: dict[str, Any] = {}
    for pair in text.split(","):
        name, given, value = pair.strip().partition("=")
        if not given or name not in Lora.__dataclass_fields__:
            raise UsageError(
                f"--lora takes r=N,alpha=N[,dropout=X][,target=NAME+NAME|all-linear], not {pair!r}"
                f"{did_you_mean(name, Lora.__dataclass_fields__)}"
            )
        try:
            values[name] = (
                tuple(value.split("+")) if name == "target" else float(value) if name == "dropout" else int(value)
            )
        except ValueError:
            raise UsageError(f"--lora {name} takes a number, not {value!r}") from None
    return Lora(**values)


def check_kept(options: TrainingOptions) -> None:
    """Complain about adapters to be kept beside merged weights that there will not be."""
    if options.keep_adapter and not options.merge_lora:
        raise UsageError(
            "--keep-adapter keeps the adapters beside the merged weights; with --no-merge-lora they are saved "
            "alone, as the student: omit one of the two"
        )


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
    targets = _targets(student.model, lora.target)
    settings = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        task_type=kind,
        target_modules=targets,
        revision=getattr(student.model.config, "_commit_hash", None),  # of a base from the hub
    )
    try:
        student.model = peft.get_peft_model(student.model, settings)
    except ValueError as error:
        if targets is None:  # peft has no mapping for this family, and its error names an option that is not ours
            raise UsageError(
                f"--lora: no default targets for {student.model.config.model_type} models; choose "
                f"target=all-linear or some of {', '.join(_linear(student.model))}"
            ) from None
        raise UsageError(f"--lora: {str(error).splitlines()[0]}") from None
    student.changed()


def _targets(model: Any, names: tuple[str, ...] | None) -> list[str] | str | None:
    """Modules by peft's rule, a name or the end of one. Raises `UsageError` where the model lacks one."""
    if names is None or names == (ALL,):
        return names and ALL
    modules = [name for name, _ in model.named_modules()]
    for name in names:
        if not any(module == name or module.endswith(f".{name}") for module in modules):
            known = _linear(model)
            raise UsageError(
                f"--lora: the model has no module {name!r}{did_you_mean(name, known)}; there are "
                f"{', '.join(known)}, or target={ALL}"
            )
    return list(names)


def _linear(model: Any) -> list[str]:
    """Last parts of the names of modules that can be adapted, without the head."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, Conv1D)) and module is not head
        }
    )


def merge(student: Student) -> None:
    """Fold the adapters into the weights: the student is then a plain model again."""
    if hasattr(student.model, "merge_and_unload"):
        student.model = student.model.merge_and_unload()
        student.changed()

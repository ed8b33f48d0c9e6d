"""A student or teacher by path or hub name: the model, all of its weights, its tokenizer; or one line why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from cotdistill.config import DEMO
from cotdistill.console import warn_once
from cotdistill.data.network import unreachable_hub
from cotdistill.errors import Unavailable, UsageError, missing_extra
from cotdistill.seeds import derive
from cotdistill.students.families import Student
from cotdistill.students.model_files import adapter_base, check_folder, is_adapter

Bits = Literal["8bit", "4bit"]
# Masks and rotary tables that old checkpoints hold: computed today, so nothing is lost.
TABLES = re.compile(r"(attn|attention)\.(masked_)?bias$|inv_freq$|position_ids$")


def load_student(
    name: str,
    dtype: str = "float32",
    device: str = "cpu",
    trust_remote_code: bool = False,
    quantize: Bits | None = None,
    chat: bool = False,
    partial_weights: bool = False,
) -> Student:
    """A student by path or hub name, or the embedded demo base; any Auto-class model of either family.

    A folder with a PEFT adapter gives its base with the adapter merged. `partial_weights`: weights that are in no
    file start at random, the same at every load. Raises `Unavailable`.
    """
    torch.set_flush_denormal(True)  # tiny activations cost up to 2.5x on a CPU, and carry nothing
    where = locate(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    base = adapter_base(Path(where)) if is_adapter(Path(where)) else None
    if quantize is not None:
        if base is not None:
            raise UsageError(f"--quantize: {name} is an adapter, which cannot be merged into {quantize} weights; "
                             "give a model that is merged")
        options["quantization_config"] = quantization(quantize)
    model = _model(where if base is None else _base_of(where, base), name, dtype, options, partial_weights)
    if base is not None:
        model = _adapted(model, Path(where))
    tokenizer = load_tokenizer(where, name, trust_remote_code, base)
    _check_embeddings(model, tokenizer, name)
    if quantize is None:
        model = model.to(torch.device(device))
    return Student(model.eval(), tokenizer, chat)


def outline_student(name: str, trust_remote_code: bool = False) -> Student:
    """A model without its weights, on the meta device: its tokenizer and its limits are real."""
    where = locate(name)
    base = adapter_base(Path(where)) if is_adapter(Path(where)) else None
    config = config_of(name, trust_remote_code)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    try:
        with torch.device("meta"):
            model = auto.from_config(config, trust_remote_code=trust_remote_code)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise _unavailable(name, "config.json", error) from error
    return Student(model, load_tokenizer(where, name, trust_remote_code, base))


def config_of(name: str, trust_remote_code: bool = False) -> Any:
    """A model's configuration; an adapter's is its base's."""
    where = locate(name)
    base = adapter_base(Path(where)) if is_adapter(Path(where)) else None
    return _config(where if base is None else _base_of(where, base), name, trust_remote_code)


def locate(name: str) -> str:
    """The folder of a local model, checked, or the hub name as it is."""
    if name == DEMO:
        return str(demo_model("base"))
    place = Path(name).expanduser()
    if place.is_dir():
        try:
            check_folder(place)
        except Unavailable as error:
            raise Unavailable(f"cannot load the model {name!r}: {error}") from None
        return str(place)
    if (place.parent / "run.json").is_file():
        raise Unavailable(f"cannot load the model {name!r}: no such folder; the run has lost its model, train it again")
    if place.is_file():
        raise Unavailable(f"cannot load the model {name!r}: a file; a model is a folder in Hugging Face "
                          "format, or a hub name")
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1:
        raise Unavailable(f"cannot load the model {name!r}: no such folder; check the path")
    why = unreachable_hub()
    if why is not None and not _cached(name):
        raise Unavailable(f"cannot load the model {name!r}: no such folder, not in the hub's local cache, and {why}")
    return name


def demo_model(role: str) -> Path:
    """Folder of an embedded model: teacher, base or simulator."""
    return Path(__file__).parents[1] / "demo" / "models" / role


def load_tokenizer(where: str, name: str, trust_remote_code: bool = False, base: str | None = None) -> Any:
    """The model's tokenizer; an adapter that was saved without one has its base's."""
    if base is not None and not (Path(where) / "tokenizer_config.json").is_file():
        where = _base_of(where, base)
    try:
        return AutoTokenizer.from_pretrained(where, trust_remote_code=trust_remote_code)
    except Exception as error:  # a damaged file raises whatever its parser raises
        raise _unavailable(name, _tokenizer_file(Path(where)), error) from error


def quantization(bits: Bits) -> Any:
    """The base's weights in 8 or 4 bits through bitsandbytes; only LoRA trains on top of them."""
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if find_spec("bitsandbytes") is None:
        raise missing_extra("quantized", f"an {bits} base")
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
    return BitsAndBytesConfig(**nf4)  # type: ignore[no-untyped-call]


def _config(where: str, name: str, trust_remote_code: bool) -> Any:
    try:
        return AutoConfig.from_pretrained(where, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise _unavailable(name, "config.json", error) from error


def _model(where: str, name: str, dtype: str, options: dict[str, Any], partial_weights: bool) -> Any:
    config = _config(where, name, options["trust_remote_code"])
    auto: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    torch.manual_seed(derive(0, "weights"))  # for those that are in no file
    try:
        model, info = auto.from_pretrained(
            where,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are listed in `info`, and refused below with their sizes
            **options,
        )
    except Exception as error:
        raise _unavailable(name, "", error) from error
    _check_weights(info, name, partial_weights)
    return model


def _check_weights(info: dict[str, Any], name: str, partial: bool) -> None:
    """Every weight of the model comes from its file, and every weight of the file is used."""
    if mismatched := sorted(info["mismatched_keys"]):
        key, stored, wanted = mismatched[0]
        raise Unavailable(f"{name}: {len(mismatched)} weights do not fit config.json, e.g. {key} is {tuple(stored)}, "
                          f"not {tuple(wanted)}; the folder mixes two models")
    for keys, what in (
        (info["missing_keys"], "are in no file and would start at random"),
        (info["unexpected_keys"], "of its files have no place in the model"),
    ):
        if found := sorted(key for key in keys if not TABLES.search(key)):
            said = f"{name}: {len(found)} weights {what}, e.g. {found[0]}"
            if not partial:
                raise Unavailable(f"{said}; its config.json and its weights belong to different models, or a part is "
                                  "missing (--partial-weights loads it all the same)")
            warn_once(said)


def _check_embeddings(model: Any, tokenizer: Any, name: str) -> None:
    """Every id that the tokenizer can give has an embedding.

    Some of transformers' tokenizer classes add an unknown token of their own that a byte-level vocabulary never gives.
    """
    rows = int(model.get_input_embeddings().num_embeddings)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    unused = {tokenizer.unk_token_id} if backend and not getattr(backend.model, "unk_token", None) else set()
    unused -= {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id}
    highest = max({tokenizer.vocab_size - 1, *tokenizer.added_tokens_decoder} - unused)
    if highest >= rows:
        raise Unavailable(f"{name}: its tokenizer ({_tokenizer_file(Path(name))}) has ids up to {highest}, the model "
                          f"embeddings for {rows} only; use the model's own tokenizer, or resize its embeddings")


def _base_of(where: str, base: str) -> str:
    """Where an adapter's base lies; a relative path counts from here or from the adapter's folder."""
    beside = Path(where) / base
    try:
        return locate(str(beside) if beside.is_dir() and not Path(base).is_dir() else base)
    except Unavailable as error:
        raise Unavailable(f"{where} is an adapter of {base!r}, which cannot be loaded: {error}") from None


def _adapted(model: Any, folder: Path) -> Any:
    """The base with its adapter merged: a plain model."""
    try:
        import peft
    except ImportError as error:
        raise missing_extra("lora", f"the adapter {folder}") from error
    try:
        adapted = peft.PeftModel.from_pretrained(model, str(folder))
    except Exception as error:
        raise _unavailable(str(folder), "adapter_model.safetensors", error) from error
    merged: Any = adapted.merge_and_unload()
    return merged.requires_grad_(True)  # peft froze the base


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _tokenizer_file(folder: Path) -> str:
    names = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
    return next((name for name in names if (folder / name).is_file()), "its tokenizer")


def _unavailable(name: str, file: str, error: Exception) -> Unavailable:
    said = str(error).strip().splitlines()
    line = f"{type(error).__name__}: {said[0]}" if said and isinstance(error, KeyError) else said[0] if said else ""
    return Unavailable(f"cannot load the model {name!r}{file and f' ({file})'}: {line or type(error).__name__}")

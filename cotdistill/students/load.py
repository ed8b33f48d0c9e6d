"""A student or teacher by path or hub name: the model, all of its weights, its tokenizer; or one line why not."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from cotdistill.config import Config
from cotdistill.console import console, warn_once
from cotdistill.errors import Unavailable, UsageError, missing_extra
from cotdistill.seeds import derive
from cotdistill.students.devices import device_of
from cotdistill.students.gguf_file import ends_of, header
from cotdistill.students.places import Place, locate
from cotdistill.students.student import Student

Bits = Literal["8bit", "4bit"]
# Masks and rotary tables that old checkpoints hold: computed today, so nothing is lost.
TABLES = re.compile(r"(attn|attention)\.(masked_)?bias$|inv_freq$|position_ids$")
# Weights that are missing, left over or of another size are listed, and refused by `_check_weights` with their sizes.
_LISTED = {"use_safetensors": True, "output_loading_info": True, "ignore_mismatched_sizes": True}


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

    A PEFT adapter is merged into its base, a GGUF file is unpacked. `partial_weights`: weights that
    are in no file start at random, the same at every load. Raises `Unavailable`.
    """
    torch.set_flush_denormal(True)  # denormal activations cost up to 2.5x on a CPU, and carry no information
    place = locate(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if quantize is not None:
        options["quantization_config"] = quantization(place, name, quantize)
    model = _model(place, name, dtype, options, partial_weights)
    tokenizer = load_tokenizer(place, name, trust_remote_code)
    _check_embeddings(model, tokenizer, name)
    if quantize is None:
        model = model.to(torch.device(device))
    return Student(model.eval(), tokenizer, chat)


def load_configured(name: str, config: Config, chat: bool = False, quantize: Bits | None = None) -> Student:
    """A model in the precision and on the device that a command's options ask for."""
    return load_student(
        name, config.dtype, device_of(config.device), config.trust_remote_code, quantize, chat, config.partial_weights
    )


def outline_student(name: str, trust_remote_code: bool = False) -> Student:
    """A model without its weights, on the meta device: its tokenizer and its limits are real."""
    place = locate(name)
    config = _config(place.weights, name, trust_remote_code)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    try:
        with torch.device("meta"):
            model = auto.from_config(config, trust_remote_code=trust_remote_code)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise _unavailable(name, "config.json", error) from error
    return Student(model, load_tokenizer(place, name, trust_remote_code))


def check_student(name: str, trust_remote_code: bool = False, partial_weights: bool = False) -> None:
    """Complain, without reading any weights, about a model that `load_student` would refuse.

    A GGUF file's weights are not looked at: they have to be unpacked first.
    """
    outline = outline_student(name, trust_remote_code)
    _check_embeddings(outline.model, outline.tokenizer, name)
    place = locate(name).weights
    if place.gguf is not None:
        return
    auto: Any = AutoModelForSeq2SeqLM if outline.encoder_decoder else AutoModelForCausalLM
    try:
        _, info = auto.from_pretrained(
            place.where, device_map="meta", trust_remote_code=trust_remote_code, **_LISTED, **place.options
        )
    except Exception:  # a model's own code may know no meta device: its weights are checked where they are read
        return
    _check_weights(info, name, partial_weights)


def config_of(name: str, trust_remote_code: bool = False) -> Any:
    """A model's configuration; of an adapter, its base's."""
    return _config(locate(name).weights, name, trust_remote_code)


def load_tokenizer(place: Place, name: str, trust_remote_code: bool = False) -> Any:
    """The model's tokenizer; an adapter that was saved without one has its base's."""
    while place.base is not None and not (Path(place.where) / "tokenizer_config.json").is_file():
        place = place.base
    try:
        tokenizer = AutoTokenizer.from_pretrained(place.where, trust_remote_code=trust_remote_code, **place.options)
        if place.file is not None and not (Path(place.where) / "tokenizer.json").is_file():
            _keep_own_tokens(tokenizer, header(place.file)["tokenizer.ggml.tokens"])
    except Exception as error:  # a parser may raise anything on a damaged file
        raise _unavailable(name, place.gguf or _tokenizer_file(Path(place.where)), error) from error
    if len(tokenizer) - len(tokenizer.added_tokens_decoder) < 2:  # a class that was given no file makes an empty one
        raise Unavailable(
            f"cannot load the model {name!r}: it has no vocabulary (tokenizer.json); copy or download it, or save "
            "the tokenizer there with save_pretrained"
        )
    return tokenizer


def _keep_own_tokens(tokenizer: Any, count: int) -> None:
    """Drop the token that transformers' class for GPT-2's kind adds to a GGUF file's `count`: it has no embedding."""
    words = json.loads(tokenizer.backend_tokenizer.to_str())
    own = [token for token in words["added_tokens"] if token["id"] < count]
    if len(own) < len(words["added_tokens"]):
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(words | {"added_tokens": own}))


def quantization(place: Place, name: str, bits: Bits) -> Any:
    """The base's weights in 8 or 4 bits through bitsandbytes; only LoRA trains on top of them.

    Raises `UsageError` where model `name` cannot be held so, `Unavailable` without bitsandbytes.
    """
    from importlib.util import find_spec

    from transformers import BitsAndBytesConfig

    if place.base is not None:
        raise UsageError(
            f"--quantize: {name} is an adapter, which cannot be merged into {bits} weights; give a merged model"
        )
    if place.gguf is not None:
        raise UsageError(
            f"--quantize: {name} is a GGUF file, whose weights are unpacked when they are read; "
            "give the model in Hugging Face format"
        )
    if find_spec("bitsandbytes") is None:
        raise missing_extra("quantized", f"--quantize {bits}")
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.bfloat16}
    return BitsAndBytesConfig(**nf4)  # type: ignore[no-untyped-call]


def _config(place: Place, name: str, trust_remote_code: bool) -> Any:
    try:
        return AutoConfig.from_pretrained(place.where, trust_remote_code=trust_remote_code, **place.options)
    except Exception as error:
        raise _unavailable(name, place.gguf or "config.json", error) from error


def _model(place: Place, name: str, dtype: str, options: dict[str, Any], partial_weights: bool) -> Any:
    if place.base is not None:
        return _adapted(_model(place.base, name, dtype, options, partial_weights), Path(place.where))
    config = _config(place, name, options["trust_remote_code"])
    auto: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    torch.manual_seed(derive(0, "weights"))  # for weights that are in no file
    quiet = redirect_stderr(StringIO()) if place.gguf and not console.is_terminal else nullcontext()
    try:
        with quiet:  # the bar of a GGUF file cannot be turned off
            model, info = auto.from_pretrained(
                place.where,
                dtype=getattr(torch, dtype),
                **_LISTED,
                **place.options,
                **({} if place.gguf is None else _unpacking()),
                **options,
            )
    except Exception as error:
        raise _unavailable(name, place.gguf or "", error) from error
    _check_weights(info, name, partial_weights)
    if place.commit is not None:
        model.config._commit_hash = place.commit  # an adapter names it as its base's
    return model if place.file is None else _plain(model, place.file)


def _unpacking() -> dict[str, Any]:
    """Have a GGUF file's weights unpacked, also where kernels could use them packed: they are trained."""
    config = getattr(transformers, "GgufConfig", None)  # older versions always unpack
    return {} if config is None else {"quantization_config": config(dequantize=True)}


def _plain(model: Any, file: Path) -> Any:
    """A model from a GGUF file as one that was never quantized, which transformers would refuse to save."""
    model.hf_quantizer, model.is_quantized = None, False
    for holder, name in ((model, "quantization_method"), (model.config, "quantization_config")):
        if name in vars(holder):
            delattr(holder, name)
    model.generation_config.eos_token_id = ends_of(file) or model.generation_config.eos_token_id
    model.name_or_path = model.config.name_or_path = str(file)  # an adapter names the file as its base
    return model


def _check_weights(info: dict[str, Any], name: str, partial: bool) -> None:
    """Every weight of the model comes from its file, and every weight of the file is used."""
    if mismatched := sorted(info["mismatched_keys"]):
        key, stored, wanted = mismatched[0]
        raise Unavailable(
            f"{name}: {len(mismatched)} weights do not fit config.json, e.g. {key} is {tuple(stored)}, "
            f"not {tuple(wanted)}; the folder mixes two models"
        )
    for keys, what in (
        (info["missing_keys"], "are in no file and would start at random"),
        (info["unexpected_keys"], "of its files have no place in the model"),
    ):
        if named := sorted(key for key in keys if not TABLES.search(key)):
            problem = f"{name}: {len(named)} weights {what}, e.g. {named[0]}"
            if not partial:
                raise Unavailable(
                    f"{problem}; its config.json and its weights belong to different models, or a part is "
                    "missing (--partial-weights loads it anyway)"
                )
            warn_once(problem)


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
        raise Unavailable(
            f"{name}: its tokenizer ({_tokenizer_file(Path(name))}) has ids up to {highest}, but the model "
            f"has embeddings for only {rows}; use the model's own tokenizer, or resize its embeddings"
        )


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
    merged.name_or_path, merged.config._commit_hash = str(folder), None  # another adapter names this as its base
    return merged.requires_grad_(True)  # peft froze the base


def _tokenizer_file(folder: Path) -> str:
    names = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
    return next((name for name in names if (folder / name).is_file()), "its tokenizer")


def _unavailable(name: str, file: str, error: Exception) -> Unavailable:
    lines = str(error).strip().splitlines()
    line = f"{type(error).__name__}: {lines[0]}" if lines and isinstance(error, KeyError) else lines[0] if lines else ""
    return Unavailable(f"cannot load the model {name!r}{file and f' ({file})'}: {line or type(error).__name__}")

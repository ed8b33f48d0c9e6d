"""Which device `auto` is, and what is never taken for a CPU or a CUDA device. Apple's is not here: it is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cotdistill.config import AblateConfig
from cotdistill.grid.choose_executor import executor_for
from cotdistill.grid.executors import InProcessExecutor, ProcessExecutor
from cotdistill.students.devices import bfloat16_on_gpu, device_of, in_float64
from cotdistill.training.memory import GPU_BUDGET, OutOfMemory, default_budget, out_of_memory_raised
from tests.in_process import run
from tests.models import student


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_cuda_else_mps_else_the_cpu(
    cuda: bool, mps: bool, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device_of("auto") == wanted
    assert bfloat16_on_gpu("auto") == (wanted == "cuda")  # MPS keeps float32 unless it is asked otherwise


def test_workers_do_not_share_an_mps_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("cotdistill.grid.choose_executor._cores", lambda: 4)
    for mps, executor in ((False, ProcessExecutor), (True, InProcessExecutor)):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert isinstance(executor_for(AblateConfig(), lambda: None, 8), executor)  # type: ignore[arg-type, return-value]


def test_mps_is_no_cpu() -> None:
    assert default_budget(torch.device("mps"), student("gpt2").model) == GPU_BUDGET
    with pytest.raises(OutOfMemory, match="MPS backend"), out_of_memory_raised():
        raise RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)")


def test_numbers_in_float64_stay_where_they_are() -> None:
    assert in_float64(torch.ones(2)).dtype == torch.float64
    assert in_float64(torch.ones(2, device="meta")).device.type == "meta"


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an MPS device")
def test_a_device_that_is_not_here_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "a", "question": "q", "answer": "b"}) + "\n")
    done = run(
        "evaluate",
        "demo",
        "--strategy",
        "cot",
        "--data",
        str(tmp_path / "rows.jsonl"),
        "--device",
        "mps",
        "--out",
        str(tmp_path / "out"),
    )
    assert done.code == 6, done.err
    assert len(done.errors) == 1
    assert "--device mps: not available here; choose from cpu" in done.errors[0]

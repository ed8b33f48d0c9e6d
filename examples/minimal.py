"""CasCoD in plain PyTorch: the whole of what `cotdistill distill` and `evaluate` compute, without any fast path.

    python examples/minimal.py                    # about two minutes on one core

Read this first, then cotdistill/training/ and cotdistill/decoding/, which compute the same numbers faster: rows packed
into micro-batches, common prefixes computed once, a loss that never holds all logits, a KV cache. A test holds them
against this file (tests/test_minimal.py): the same loss at every step, the same answers.

A strategy is a list of *forms*. A form is the template of one sequence: a source that is given, a target that is
learned, and a share of the loss. CasCoD (arXiv 2405.19842) has two:

    form        source (given)                                                     target (learned)    share
    rationale   {question}\\nRationale:                                              {rationale}         1 - alpha
    answer      {question}\\nRationale: {rationale}\\nTherefore, the answer is         {answer}            alpha
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import torch
import torch.nn.functional as F

from cotdistill.data.records import Example
from cotdistill.seeds import rng
from cotdistill.strategies.cascod import cascod
from cotdistill.strategies.forms import Form
from cotdistill.students.load import load_student
from cotdistill.world import questions

Slots = dict[str, str | list[int]]  # texts, or token ids that the student generated
STRATEGY = cascod(alpha=0.3)
BATCH, LR, WARMUP, DECAY, CLIP = 16, 2e-3, 0.06, 0.01, 1.0


def ids_of(tokenizer: Any, template: str, slots: Slots) -> list[int]:
    """Token ids of a template with at most one {slot}. The blank before a slot belongs to it: " {answer}"."""
    for name, value in slots.items():
        if "{" + name + "}" in template:
            if isinstance(value, list):
                return value  # what the student said stays as it said it: the same text may have other tokens
            template = template.replace("{" + name + "}", value.strip())
            break
    return list(tokenizer(template, add_special_tokens=False)["input_ids"])


def source_ids(tokenizer: Any, form: Form, slots: Slots) -> list[int]:
    """What the student is given. Segments are tokenized one by one, in training as in the walk.

    Text that is tokenized as a whole gives other tokens at the seams than text that grows piece by piece: a student
    would be asked with a prompt that it never saw.
    """
    return [token for part in form.source_segments() for token in ids_of(tokenizer, part.text, slots)]


def sequence(tokenizer: Any, form: Form, slots: Slots) -> tuple[list[int], int]:
    """(all token ids of a form [T], how many of them are given). The rest is learned, the end of the text included."""
    given = source_ids(tokenizer, form, slots)
    learned = [token for part in form.target for token in ids_of(tokenizer, part.text, slots)]
    return [*given, *learned, tokenizer.eos_token_id], len(given)


def slots_of(row: dict[str, Any]) -> Slots:
    """A row of the embedded world as texts; the question with its choices lettered."""
    question = Example(**{**row, "choices": tuple(row["choices"])}).text()
    return {"question": question, "rationale": row["rationale"], "answer": row["answer"]}


def step_loss(model: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> torch.Tensor:
    """The loss of one optimizer step: every form's share times the mean nll of its learned tokens in the whole step."""
    loss = torch.zeros(())
    for form in STRATEGY.forms:
        nll = []
        for row in rows:
            ids, given = sequence(tokenizer, form, slots_of(row))
            logits = model(input_ids=torch.tensor([ids])).logits[0]  # [T, V]: position t predicts token t + 1
            nll.append(F.cross_entropy(logits[given - 1 : -1], torch.tensor(ids[given:]), reduction="none"))
        loss = loss + form.share * torch.cat(nll).mean()
    return loss


def learning_rate(step: int, steps: int) -> float:
    """A linear warm-up, then half a cosine to zero."""
    warm = math.ceil(WARMUP * steps)
    if step < warm:
        return LR * (step + 1) / warm
    return LR * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(model: Any, tokenizer: Any, rows: list[dict[str, Any]], steps: int, seed: int = 0) -> list[float]:
    """Train `model` in place; the loss of every step."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]  # norms and biases are not decayed
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0}])
    losses = []
    model.train()
    for step in range(steps):
        batch = []
        for place in range(step * BATCH, (step + 1) * BATCH):
            order = list(range(len(rows)))
            rng(seed, "order", place // len(rows)).shuffle(order)  # one order per epoch
            batch.append(rows[order[place % len(rows)]])
        loss = step_loss(model, tokenizer, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def walk(model: Any, tokenizer: Any, row: dict[str, Any], max_new_tokens: int = 160) -> tuple[str, str]:
    """(rationale, answer) of the student: the same forms, their targets generated token by token, greedily."""
    slots: Slots = {"question": slots_of(row)["question"]}
    model.eval()
    for form in map(STRATEGY.form, STRATEGY.plan):
        context = source_ids(tokenizer, form, slots)
        generated: list[int] = []
        while len(generated) < max_new_tokens:
            token = int(model(input_ids=torch.tensor([context + generated])).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                break
            generated.append(token)
        (slot,) = [part.slot for part in form.target if part.slot]
        slots[slot] = generated
    rationale, answer = (tokenizer.decode(slots[name]).strip() for name in ("rationale", "answer"))
    return rationale, answer


def main(steps: int = 300, questions_asked: int = 40) -> None:
    """Train the embedded student and ask it questions like those it learned from, and with a misleading cue."""
    student = load_student("demo")
    losses = train(student.model, student.tokenizer, questions.rows("demo", "train", 600), steps)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}", file=sys.stderr)
    for split in ("id", "shift"):
        rows = questions.rows("demo", split, questions_asked)
        right = sum(walk(student.model, student.tokenizer, row)[1] == row["answer"] for row in rows)
        print(json.dumps({"set": split, "accuracy": right / len(rows)}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

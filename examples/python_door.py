"""A study in Python: elicit, distil two strategies, evaluate, compare, and ask the better student a question.

python examples/python_door.py OUT [STEPS]
"""

import sys
from pathlib import Path

import cotdistill as cd

out, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300

rows = cd.elicit(limit=128, device="cpu", out=out / "rows.jsonl")
print(rows.figures)

runs = [cd.distill(rows, strategy=name, steps=steps, device="cpu", out=out / name) for name in ("cot", "post-cot")]
evaluation = cd.evaluate(runs, split="id", limit=32, device="cpu")
print(evaluation.to_pandas()[["strategy", "accuracy", "generated_per_question"]])

compared = cd.compare(*runs)
print(compared.to_pandas().T)

best = max(zip(evaluation, runs, strict=True), key=lambda pair: pair[0]["accuracy"])[1]
for answer in best.predict("demo", split="hard", limit=3, device="cpu"):
    print(answer["rationale"], "->", answer["answer"])

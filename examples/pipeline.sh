#!/usr/bin/env bash
# A whole study as one pipe, on the embedded world: no model to download, no file to prepare.
#
#   examples/pipeline.sh OUT [ROWS [STEPS]]
#
# stdout of each command is stdin of the next, JSON lines only; tables, progress and warnings go to stderr.
set -euo pipefail  # pipefail: the pipe fails if any of its commands does
out=$1 rows=${2:-600} steps=${3:-450}
mkdir -p "$out"

# 1. elicit asks the teacher for a rationale per question and labels it. A pipe ends with {"end": ...}, by which
#    distill knows that nothing was cut off; tee keeps a copy for other strategies.
# 2. distill trains the student with one strategy and prints one line that names the run.
# 3. evaluate answers the question sets with that run and prints one line per set.
cotdistill elicit --limit "$rows" |
  tee "$out/rows.jsonl" |
  cotdistill distill --strategy cascod --steps "$steps" --out "$out/cascod" |
  cotdistill evaluate --limit 100 --html "$out/report.html" > "$out/results.jsonl"

# The kept rows serve another strategy without asking the teacher again.
cotdistill distill "$out/rows.jsonl" --strategy cot --steps "$steps" --out "$out/cot" |
  cotdistill evaluate --limit 100 >> "$out/results.jsonl"

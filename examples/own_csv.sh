#!/usr/bin/env bash
# Your own questions from a spreadsheet: a CSV file with column names of its own, with or without explanations.
#
#   examples/own_csv.sh STUDENT OUT [QUESTIONS.csv [TEACHER [OPTION of distill ...]]]
#
# STUDENT   a small model: a folder or a hub name, such as HuggingFaceTB/SmolLM2-135M
# TEACHER   who explains the answers: `rows` takes the column that holds explanations; or a model, a server, a recording
set -euo pipefail
student=$1 out=$2 questions=${3:-$(dirname "$0")/questions.csv} teacher=${4:-rows}
shift $(($# < 4 ? $# : 4))
mkdir -p "$out"

# Which column holds what. `+` joins several columns into one list; the answer may be a choice's text or its letter.
columns="id=nr,question=text,choices=first+second+third,answer=solution,rationale=because"

# Every row is kept with a label; the table on stderr counts which are usable. --bad-rows skip lists unreadable rows.
cotdistill elicit --data "$questions" --map "$columns" --teacher "$teacher" --bad-rows skip -o "$out/rows.jsonl"

# preview shows the exact tokens that are learned, before an hour of training is spent.
cotdistill preview "$out/rows.jsonl" --strategy cot --student "$student" > "$out/preview.jsonl"

cotdistill distill "$out/rows.jsonl" --strategy cot --student "$student" --out "$out/cot" "$@" |
  cotdistill evaluate --data "own=$questions" --map "$columns" > "$out/results.jsonl"

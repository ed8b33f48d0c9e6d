#!/usr/bin/env bash
# Distils recorded chains of thought into a real pretrained student and compares the papers' strategies on it:
#
#   examples/real.sh STUDENT QUESTIONS CHAINS OTHER OUT [OPTION of ablate ...]
#
# STUDENT     a causal model: a folder, a GGUF file or a hub name
# QUESTIONS   question rows, JSON lines; the last fifth is held out and evaluated in domain
# CHAINS      a teacher's recorded chains for them, {id, teacher, samples: [{text}]}
# OTHER       question rows of another data set, evaluated out of domain
# OUT         a folder; the same command goes on where it was stopped
#
# TRAIN_ROWS=N trains on the first N questions only (default: all that are not held out); OTHER_ROWS=N cuts the other set.
# SCOTT's counterfactual side is elicited from the student itself, by contrastive decoding; its yield is printed. A small
# student leaks the right answer or never ends in most of them; KEEP=all trains on those, too (default: right).
set -euo pipefail
student=$1 questions=$2 chains=$3 other=$4 out=$5
shift 5
mkdir -p "$out"
count=$(wc -l < "$questions")
held_out=$((count / 5))
head -n "${TRAIN_ROWS:-$((count - held_out))}" "$questions" > "$out/train.jsonl"
tail -n "$held_out" "$questions" > "$out/in-domain.jsonl"
head -n "${OTHER_ROWS:-100}" "$other" > "$out/out-of-domain.jsonl"

ask=(cotdistill elicit --data "$out/train.jsonl" -o "$out/rows.jsonl")
test -e "$out/rows.jsonl" || "${ask[@]}" --teacher "recorded:$chains"
"${ask[@]}" --teacher "$student" --only counterfactual --decode contrastive --mix --keep "${KEEP:-right}"
cotdistill ablate "$out/rows.jsonl" --config "$(dirname "$0")/real.yaml" --student "$student" \
  --data "$out/in-domain.jsonl" --data "$out/out-of-domain.jsonl" --out "$out/grid" "$@"

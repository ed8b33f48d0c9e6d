#!/usr/bin/env bash
# Long chains, short ones, or a mixture of both? A grid that compares them.
#
#   examples/mixtures.sh OUT [ROWS [OPTION of ablate ...]]
#
# The long chains are the embedded teacher's; a short one is the last step of a long one. Two teachers' rationales for
# the same questions, each in a file of its own, are mixed in the same way. The same command goes on where it stopped.
# DATA=FILE asks these questions in place of the embedded world's.
set -euo pipefail
out=$1 rows=${2:-1000}
shift $(($# < 2 ? $# : 2))
mkdir -p "$out"
test -e "$out/long.jsonl" || cotdistill elicit --limit "$rows" -o "$out/long.jsonl"
python - "$out/long.jsonl" "$out/short.jsonl" << 'PYTHON'
import json, sys
from pathlib import Path

long, short = map(Path, sys.argv[1:])
rows = [json.loads(line) for line in long.read_text().splitlines()]
for row in rows:
    for rationale in row["rationales"]:
        rationale["text"] = rationale["text"].rstrip(".").split(". ")[-1] + "."
short.write_text("".join(json.dumps(row) + "\n" for row in rows))
PYTHON

# The same number of learned tokens for each arm: a mixture with short chains, too, is seen more often than long ones.
cd "$out"
cotdistill ablate long.jsonl --data "${DATA:-demo}" --strategies cot --budget learned-tokens --no-controls \
  --vary "mix=long.jsonl:1;long.jsonl:0.5+short.jsonl:0.5;short.jsonl:1" \
  --baseline "cot [mix long.jsonl:1]" --out grid "$@"

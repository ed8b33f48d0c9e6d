#!/usr/bin/env bash
# A teacher behind any server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, `transformers serve`, or a vendor's.
#
#   examples/server.sh URL MODEL QUESTIONS OUT
#
# URL         such as http://127.0.0.1:8000/v1; for a server of your own:
#             transformers serve ./teacher --host 127.0.0.1 --port 8000
# QUESTIONS   question rows: {"id", "question", "choices": [...] or null, "answer"}
#
# A key, where the server wants one, is read from OPENAI_API_KEY only: it reaches no file and no log.
set -euo pipefail
url=$1 model=$2 questions=$3 out=$4
mkdir -p "$out"
ask=(cotdistill elicit --teacher "openai:$model" --base-url "$url" --data "$questions" -o "$out/rows.jsonl")

# What it would cost, before anything is sent. Prices are in dollars per million tokens.
"${ask[@]}" --price-in 0.15 --price-out 0.6 --dry-run

# Each answer is on disk as soon as it arrives: after Ctrl-C or a crash the same command continues where it stopped.
# Failed calls are retried; what still fails ends the command with exit 5, and --retry-failed asks again.
"${ask[@]}" --price-in 0.15 --price-out 0.6 --concurrency 4

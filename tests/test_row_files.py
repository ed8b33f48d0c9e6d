"""Files as people have them, on the command line: what is read, as what, and what is refused in one line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.in_process import Done, run
from tests.models import items, student

ROW = {"id": "a", "question": "Where is it?", "choices": ["shed", "barn"], "answer": "barn", "rationale": "It is so."}
FREE = {"question": "How many?", "answer": "18", "rationale": "So it is."}
Made = list[dict[str, Any]]


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def csv(*rows: str, header: str = "id,question,choices,answer,rationale") -> bytes:
    return "".join(f"{line}\n" for line in (header, *rows)).encode()


def read(folder: Path, name: str, content: bytes, *args: str) -> tuple[Done, Made]:
    """`elicit --teacher rows` on a file: what it said, and the rows."""
    (folder / name).write_bytes(content)
    return elicited(folder, str(folder / name), *args)


def elicited(folder: Path, data: str, *args: str) -> tuple[Done, Made]:
    out = folder / "made.jsonl"
    done = run("elicit", "--teacher", "rows", "--data", data, *args, "-o", str(out), "--overwrite")
    return done, [json.loads(line) for line in out.read_text().split("\n") if line] if out.exists() else []


def fed(pipe: Path, content: bytes) -> threading.Thread:
    """Someone who writes into a pipe."""
    writer = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
    writer.start()
    return writer


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("q.jsonl", bytes),
        ("q.jsonl", b"\xef\xbb\xbf".__add__),
        ("Q.JSONL.GZ", gzip.compress),
        ("q.jsonl.zst", zstd),
        ("q.bz2", bz2.compress),
        ("q.jsonl.xz", lzma.compress),
        ("q.jsonl", gzip.compress),
        ("q", bytes),
        ("q.jsonl", lambda content: content.replace(b"\n", b"\r\n")),
        ("q.json", lambda content: b" [" + content + b"]\n"),
        ("q.json", lambda content: json.dumps(json.loads(content), indent=1).encode() + b"\n"),
        ("q.JSON.gz", lambda content: gzip.compress(b"[" + content + b"]")),
    ],
)
def test_packed_files_arrays_and_byte_order_marks(name: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    done, made = read(tmp_path, name, pack(lines(ROW)))
    assert done.code == 0, done.err
    assert [(row["id"], row["choices"], row["answer"]) for row in made] == [("a", ["shed", "barn"], "barn")]


@pytest.mark.parametrize("args", [(), ("--map", "question=question,answer=answer,rationale=rationale")])
def test_rows_of_an_array_on_one_line_are_told_apart(args: tuple[str, ...], tmp_path: Path) -> None:
    done, made = read(tmp_path, "q.json", json.dumps([FREE] * 3 + [ROW]).encode(), *args)
    assert done.code == 0, done.err
    assert [row["id"] for row in made][:3] == ["q-rows-00001", "q-rows-00001-2", "q-rows-00001-3"]
    done, made = read(tmp_path, "bad.json", json.dumps([FREE] * 5 + [{}] * 5).encode(), *args, "--bad-rows", "skip")
    assert done.code == 3
    assert done.errors[0].endswith("(5 of 10 rows are bad, more than --max-bad-rows 0.2)")


def test_pipes_are_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "questions"
    os.mkfifo(pipe)
    writer = fed(pipe, lines(FREE))
    done, made = elicited(tmp_path, str(pipe))
    writer.join()
    assert (done.code, made[0]["id"]) == (0, "questions-rows-00001")
    reading, writing = os.pipe()
    os.write(writing, csv("7,What?,,x,so"))
    os.close(writing)
    done, made = elicited(tmp_path, f"/dev/fd/{reading}")
    os.close(reading)
    assert (done.code, [(row["id"], row["task"]) for row in made]) == (0, [("7", "stdin")]), done.err


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**ROW, "id": 7}, {"id": "7"}),
        ({**FREE, "answer": 18}, {"id": "q-rows-00001", "choices": None, "answer": "18"}),
        ({**FREE, "answer": 0.50}, {"answer": "0.5"}),
        ({**ROW, "answer": " barn\n"}, {"answer": "barn"}),
        ({**ROW, "answer": 1}, {"answer": "barn"}),
        ({**ROW, "choices": ["2", "1", "0"], "answer": 2}, {"answer": "2"}),
        ({**ROW, "choices": [2, 1, 0], "answer": 0}, {"choices": ["2", "1", "0"], "answer": "0"}),
        ({**ROW, "answer": "B"}, {"answer": "barn"}),
        ({**ROW, "answer": "(b) barn"}, {"answer": "barn"}),
        ({**ROW, "choices": ["A. shed", "B. barn"], "answer": "B"}, {"choices": ["shed", "barn"], "answer": "barn"}),
        ({**ROW, "choices": ["A)shed", "B)barn"], "answer": "barn"}, {"choices": ["shed", "barn"], "answer": "barn"}),
        ({**ROW, "choices": ["1. shed", "2. barn"], "answer": 2}, {"choices": ["shed", "barn"], "answer": "barn"}),
        (
            {**ROW, "choices": {"A": "shed", "B": "barn"}, "answer": "B"},
            {"choices": ["shed", "barn"], "answer": "barn"},
        ),
        ({**ROW, "choices": {"1": "shed", "2": "barn"}, "answer": 1}, {"answer": "shed"}),
        ({**ROW, "choices": {"text": ["shed", "barn"], "label": ["A", "B"]}, "answer": "A"}, {"answer": "shed"}),
        (
            {**ROW, "choices": [{"label": "A", "text": "shed"}, {"label": "B", "text": "barn"}], "answer": "B"},
            {"choices": ["shed", "barn"], "answer": "barn"},
        ),
        ({**ROW, "choices": ["true", "false"], "answer": False}, {"answer": "false"}),
        ({**ROW, "choices": "['shed', \"barn\"]"}, {"choices": ["shed", "barn"]}),
        ({**ROW, "choices": ["cafe\u0301", "bar"], "answer": "caf\u00e9"}, {"answer": "cafe\u0301"}),
        (
            {**ROW, "note": "mine", "score": 1.5, "answers": ["x"]},
            {"extra": {"note": "mine", "score": 1.5, "answers": ["x"]}},
        ),
        ({**ROW, "question": "a\u2028b\u0085c"}, {"question": "a\u2028b\u0085c"}),
        (
            {
                "id": "e",
                "task": "t",
                "split": None,
                "question": "q",
                "choices": None,
                "answer": "x",
                "rationales": [{"kind": "factual", "text": "So x.", "label": "keep"}],
            },
            {"id": "e", "task": "t", "answer": "x"},
        ),
    ],
)
def test_rows_as_people_write_them(row: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    done, made = read(tmp_path, "q.jsonl", lines(row))
    assert done.code == 0, done.err
    assert {key: made[0].get(key) for key in expected} == expected


def test_fields_of_ones_own_are_said_once(tmp_path: Path) -> None:
    done, made = read(tmp_path, "q.jsonl", lines(*({**FREE, "note": at} for at in range(5))))
    assert done.err.count("kept under extra: note") == 1
    assert [row["extra"]["note"] for row in made] == [0, 1, 2, 3, 4]


TABLE = csv(
    "0007,NA,,null,so",
    "007,Zip?,,02139,so",
    "8,Many?,,18,so",
    "9,Half?,,0.5,so",
    '10,"Two\nlines?",a|b,b,so',
    "11,Which?,2|1|0,2,so",
    "12,Which?,red|blue,blue,so",
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", TABLE),
        ("T.CSV.GZ", gzip.compress(TABLE, mtime=0)),
        ("t", TABLE),
        ("t.tsv", TABLE.replace(b",", b"\t")),
    ],
)
def test_cells_of_tables_are_text(name: str, content: bytes, tmp_path: Path) -> None:
    done, made = read(tmp_path, name, content)
    assert done.code == 0, done.err
    assert [(row["id"], row["answer"]) for row in made] == [
        ("0007", "null"),
        ("007", "02139"),
        ("8", "18"),
        ("9", "0.5"),
        ("10", "b"),
        ("11", "2"),
        ("12", "blue"),
    ]
    assert made[0]["question"] == "NA"
    assert done.err.count("the text counts") == 1


def test_parquet_cells(tmp_path: Path) -> None:
    table = pa.table(
        {"question": ["Many?", "Half?"], "answer": [18.0, 0.5], "rationale": ["so", "so"], "id": ["01", "02"]}
    )
    pq.write_table(table, tmp_path / "T.Parquet")
    _, made = elicited(tmp_path, str(tmp_path / "T.Parquet"))
    assert [(row["id"], row["answer"]) for row in made] == [("01", "18"), ("02", "0.5")]


CHAT = {"messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}], "why": "So."}
COLUMNS = csv('Where?,shed,barn,,2,"so, so"', 'Where?,x,y,z,3,"so, so"', header='stem.q,A,B,C,"key, 1","a+b"')


@pytest.mark.parametrize(
    ("name", "content", "columns", "expected"),
    [
        (
            "q.jsonl",
            lines(CHAT),
            "question=messages.0.content,answer=messages.-1.content,rationale=why",
            [("Where?", None, "Here.")],
        ),
        (
            "q.csv",
            COLUMNS,
            'question=stem.q,choices=A+B+C,answer="key, 1",rationale="a+b"',
            [("Where?", ["shed", "barn"], "barn"), ("Where?", ["x", "y", "z"], "z")],
        ),
        (
            "q.csv",
            COLUMNS,
            "question=stem.q,choices=A+B+C,answer=key\\, 1,rationale='a+b',first=0",
            [("Where?", ["shed", "barn"], ""), ("Where?", ["x", "y", "z"], "")],
        ),
        (
            "q.jsonl",
            lines(
                {
                    "q": {
                        "stem": "Where?",
                        "choices": [{"text": "shed", "label": "A"}, {"text": "barn", "label": "B"}],
                    },
                    "key": "B",
                    "w": ["So.", "So."],
                }
            ),
            "question=q.stem,choices=q.choices,answer=key,rationale=w",
            [("Where?", ["shed", "barn"], "barn")],
        ),
        (
            "q.csv",
            csv("Which?,2|1|0,2,so", header="q,c,a,w"),
            "question=q,choices=c,answer=a,rationale=w,first=0",
            [("Which?", ["2", "1", "0"], "0")],
        ),
        (
            "q.csv",
            csv('"{""stem"": ""Where?""}",shed|barn,1,so', header="q,c,a,w"),
            "question=q.stem,choices=c,answer=a,rationale=w,first=1",
            [("Where?", ["shed", "barn"], "shed")],
        ),
    ],
)
def test_maps(name: str, content: bytes, columns: str, expected: list[Any], tmp_path: Path) -> None:
    done, made = read(tmp_path, name, content, "--map", columns)
    if any(not answer for _, _, answer in expected):
        assert (done.code, done.errors[0].count("is out of range for 2 choices (indices start at 0)")) == (3, 1)
        return
    assert done.code == 0, done.err
    assert [(row["question"], row["choices"], row["answer"]) for row in made] == expected


def test_evaluate_reads_a_mapped_pipe_once_for_all(tmp_path: Path) -> None:
    pipe = tmp_path / "questions"
    os.mkfifo(pipe)
    for name, said in (("one", "shed"), ("two", "barn")):
        (tmp_path / f"{name}.jsonl").write_bytes(lines({"id": "7", "text": f"The answer is {said}."}))
    writer = fed(pipe, b"uid,stem,A,B,key\n7,Where?,shed,barn,2\n8,,a,b,1\n")
    done = run(
        "evaluate",
        str(tmp_path / "one.jsonl"),
        str(tmp_path / "two.jsonl"),
        "--data",
        f"s={pipe}",
        "--map",
        "id=uid,question=stem,choices=A+B,answer=key",
        "--bad-rows",
        "skip",
        "--max-bad-rows",
        "0.5",
    )
    writer.join()
    assert done.code == 0, done.err
    assert [json.loads(line)["accuracy"] for line in done.out.splitlines()] == [0.0, 1.0]
    assert "questions:3: the question is missing" in done.err


def test_ablate_reads_mapped_questions_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines(*(json.loads(item.line()) for item in items(4))))
    pipe = tmp_path / "questions"
    os.mkfifo(pipe)
    writer = fed(pipe, b"stem,A,B,key\nWhere?,shed,barn,2\nWhere now?,shed,barn,\n")
    grid = [
        "ablate",
        str(tmp_path / "rows.jsonl"),
        "--strategies",
        "cot",
        "--data",
        str(pipe),
        "--map",
        "question=stem,choices=A+B,answer=key",
        "--dry-run",
        "-o",
        str(tmp_path / "grid"),
    ]
    skipped = run(*grid, "--bad-rows", "skip", "--max-bad-rows", "0.5")
    writer.join()
    assert skipped.code == 0, skipped.err
    assert "questions: 1 of 2 rows were skipped" in skipped.err
    refused = run(*grid, "--train", str(pipe))
    assert (refused.code, len(refused.errors)) == (2, 1), refused.err
    assert "so it cannot be a pipe" in refused.errors[0]


@pytest.mark.parametrize(
    ("name", "content", "args", "said"),
    [
        ("q.jsonl", "Où?".encode("utf-16"), [], ": is UTF-16 or UTF-32 text, not UTF-8; convert it: iconv -f UTF-16"),
        ("q.csv", csv("1,q,,x,so").decode().encode("utf-16-le"), [], ": is UTF-16 or UTF-32 text"),
        (
            "q.jsonl",
            lines(ROW) + '{"question": "Où?"}\n'.encode("latin-1"),
            [],
            ":2: is not UTF-8 (probably Latin-1 or Windows-1252); ",
        ),
        ("q.csv", csv("1,q,,x,so", "2,Où,,x,so").decode().encode("latin-1"), [], ":3: is not UTF-8"),
        ("q.csv", b"question;answer\nq;x\n", [], ":1: is separated by semicolons, not by commas; save it with commas"),
        ("q.csv", b"question\tanswer\nq\tx\n", [], ":1: is separated by tabs, not by commas"),
        (
            "q.xlsx",
            b"PK\x03\x04rest",
            [],
            ": is a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV",
        ),
        ("q.jsonl", b"version https://git-lfs.github.com/spec/v1\n", [], ": is a Git LFS pointer"),
        ("q.jsonl.gz", gzip.compress(lines(ROW) * 99, mtime=0)[:60], [], ": cannot be decompressed: "),
        ("q.jsonl.zst", zstd(lines(ROW) * 99)[:40], [], ": cannot be "),
        ("q.parquet", b"PAR1garbage", [], ": damaged Parquet: "),
        ("q.csv", csv("1,q,,,so"), [], ":2: field 'answer' is empty; "),
        ("q.csv", csv("1,,,x,so"), [], ":2: field 'question' is empty; "),
        ("q.csv", csv('1,"a\nb",,x,so', "2,q,,,so"), [], ":4: field 'answer' is empty; "),
        ("q.csv", csv("1,q,,x,so,more"), [], ":2: 6 cells, but the header names 5 columns; put cells that hold"),
        ("q.csv", csv('1,"q,,x,so'), [], ":2: not CSV: unexpected end of data; correct the quotes"),
        (
            "q.csv",
            csv("1,q,,x,so", header="id,question,answer,answer,rationale"),
            [],
            ":1: two columns are named 'answer'",
        ),
        (
            "q.jsonl",
            lines({**ROW, "choices": [str(at) for at in range(27)], "answer": "1"}),
            [],
            ":1: 27 choices; at most 26 are supported, one per letter; correct the row",
        ),
        ("q.jsonl", lines({**ROW, "answer": 5}), [], ":1: the answer's index 5 is out of range for 2 choices"),
        ("q.jsonl", lines({**ROW, "anwser": 1}), [], ":1: unknown field 'anwser' (did you mean \"answer\"?); "),
        ("q.jsonl", lines({**ROW, "chioces": 1}), [], "unknown field 'chioces' (did you mean \"choices\"?); "),
        ("q.jsonl", lines({**ROW, "question": ["a"]}), [], ":1: field 'question' is a list, not text; "),
        (
            "q.jsonl",
            lines(ROW) + b'{"id": "b", "question": "\\ud83d", "answer": "x"}\n',
            [],
            ":2: half of a surrogate pair",
        ),
        ("q.jsonl", b'{"id": ' + b"[" * 5000 + b"]" * 5000 + b"}", [], ":1: nested too deeply; "),
        (
            "q.jsonl",
            b'{"id": "a", "question": "q", "answer": ' + b"9" * 5000 + b"}",
            [],
            ":1: a number of thousands of digits",
        ),
        (
            "q.jsonl",
            lines(CHAT),
            ["--map", "question=messages,answer=messages"],
            ":1: the question ('messages') is a list, not text; point to the question in it, such "
            "as messages.0.content;",
        ),
        (
            "q.jsonl",
            lines(CHAT),
            ["--map", "question=messages.0,answer=why"],
            "('messages.0') is a mapping, not text; point to the question in it, such as messages.0.role; ",
        ),
        (
            "q.jsonl",
            lines(CHAT),
            ["--map", "question=messages.2.content,answer=why"],
            "the list has 2 entries, none at 2; ",
        ),
        ("q.json", b"[" + lines(ROW), [], ":1: the array is incomplete after this element; give complete JSON"),
        ("q.json", b"[" + lines(ROW) + b"] x", [], "unexpected text after the array; "),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    name: str, content: bytes, args: list[str], said: str, tmp_path: Path
) -> None:
    done, made = read(tmp_path, name, content, *args)
    assert (done.code, len(done.errors), made) == (3, 1, []), done.err
    assert done.errors[0].startswith(f"error: {tmp_path / name}")
    assert said in done.errors[0]


def test_rows_that_were_skipped_are_counted_in_the_run_card_and_dev_rows_are_mapped(tmp_path: Path) -> None:
    student("gpt2", width=16, layers=1).save(tmp_path / "base")
    rows, dev, mapped = tmp_path / "rows.jsonl", tmp_path / "dev.jsonl", tmp_path / "dev.csv"
    good = [item.line() for item in items(4)]
    rows.write_text("\n".join([good[0], '{"id": ', *good[1:], '{"id": 1}']) + "\n")
    dev.write_bytes(lines({"id": "a", "question": "Where?", "choices": ["shed", "barn"], "answer": "barn"}))
    mapped.write_text("key,asked,one,two,gold\na,Where?,shed,barn,barn\n")
    given = ["distill", str(rows), "--student", str(tmp_path / "base"), "--steps", "1", "--device", "cpu"]
    given += ["--bad-rows", "skip", "--max-bad-rows", "0.5"]
    cards = []
    for name, more in (
        ("plain", ["--dev", str(dev)]),
        ("mapped", ["--dev", str(mapped), "--map", "id=key,question=asked,choices=one+two,answer=gold"]),
    ):
        done = run(*given, *more, "-o", str(tmp_path / name))
        assert done.code == 0, done.err
        cards.append(json.loads((tmp_path / name / "run.json").read_text()))
    assert [(card["data"]["rows"], card["data"]["skipped"]) for card in cards] == [(4, 2), (4, 2)]
    assert cards[0]["data"]["dev"] == cards[1]["data"]["dev"]
    assert cards[0]["key"] == cards[1]["key"]


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("train.jsonl", lines({"id": "t", "question": "Where is it?", "answer": "barn"}), []),
        ("train.json", json.dumps([{"question": "where is it", "answer": "x"}]).encode(), []),
        ("train.jsonl.gz", gzip.compress(lines({"question": "Where is it?", "answer": "x"}), mtime=0), []),
        ("train.csv", csv("t,Where is it?,,barn,"), []),
        ("elicited.jsonl", items(1)[0].model_copy(update={"question": "Where is it?"}).line().encode() + b"\n", []),
        ("stream.jsonl", items(1)[0].model_copy(update={"question": "Where is it?"}).line().encode()
         + b'\n{"end": {"rows": 1, "failed": 0}}\n', []),
        ("alpaca.csv", csv("t,Where is it?,barn", header="i,q,a"), ["--map", "id=i,question=q,answer=a"]),
    ],
)  # fmt: skip
def test_training_rows_are_held_against_the_sets_in_every_form(
    name: str, content: bytes, more: list[str], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    if more:
        (tmp_path / "asked.csv").write_text("i,q,a\n1,Where is it?,barn\n")
    else:
        (tmp_path / "asked.csv").write_text("id,question,answer\n1,Where is it?,barn\n")
    (tmp_path / "said.jsonl").write_bytes(lines({"id": "1", "answer": "barn"}))
    asked = ["evaluate", str(tmp_path / "said.jsonl"), "--data", str(tmp_path / "asked.csv"), *more]
    done = run(*asked, "--train", str(tmp_path / name))
    assert done.code == 0, done.err
    assert json.loads(done.out)["overlap"]["exact"] == 1


def test_elicited_training_rows_need_no_map(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(items(1)[0].model_copy(update={"question": "Where is it?"}).line() + "\n")
    (tmp_path / "asked.csv").write_text("i,q,a\n1,Where is it?,barn\n")
    (tmp_path / "said.jsonl").write_bytes(lines({"id": "1", "answer": "barn"}))
    asked = ["evaluate", str(tmp_path / "said.jsonl"), "--data", str(tmp_path / "asked.csv")]
    done = run(*asked, "--map", "id=i,question=q,answer=a", "--train", str(tmp_path / "train.jsonl"))
    assert done.code == 0, done.err
    assert json.loads(done.out)["overlap"]["exact"] == 1

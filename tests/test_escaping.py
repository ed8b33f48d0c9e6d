"""Text from outside is shown, never obeyed: by a terminal, a Markdown or HTML page, or a figure."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.table import Table

from cotdistill import console
from cotdistill.escaping import json_text, markdown, markdown_code, one_line, visible
from cotdistill.report import confidence
from cotdistill.report import plots as figures
from cotdistill.report.marks import probes_figure
from cotdistill.report.page import Bullets, Report, Section, Text, Value, to_html, to_markdown
from cotdistill.report.page import Table as PageTable
from cotdistill.report.plots import Point
from tests import warm
from tests.in_process import run
from tests.models import items
from tests.teachers.servers import serving

HOSTILE = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b2J",
    "a\x00b",
    "\x7f",
    "\u202etxt.exe",
    "\u2066x\u2069",
    "\u2028",
    "\ud83d",
    "\U000e0041",
    "\r overwritten",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_is_spelled_out(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert shown.encode()  # no half of a surrogate pair is left
    assert one_line(f"a{text}b").isprintable()
    assert json.loads(json_text({"text": text})) == {"text": text}
    assert json_text(text).isprintable()


@pytest.mark.parametrize(
    "text", ["plain", "Größe 3 µm", "中文", "नमस्ते", "👩\u200d👩\u200d👧", "می\u200cخواهم", "tab\there"]
)
def test_words_stay_as_they_are(text: str) -> None:
    assert visible(text) == one_line(text) == text


@pytest.mark.parametrize("text", ["[/red]x", "[bold]x[/bold]", "[link=http://x]y[/link]", ":cross_mark:", *HOSTILE])
def test_tables_and_lines_show_markup_as_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", title=text)
    table.add_row(text)
    console.show(table)
    console.warn(f"{text}\nsecond")
    said = capsys.readouterr().err
    assert said.count(one_line(text) or "\\u2028") >= 1
    assert said.replace("\n", "").isprintable()
    assert said.splitlines()[-1] == f"warning: {one_line(f'{text} second')}".rstrip()


MARKS = {
    "*a*": r"\*a\*",
    "_a_": r"\_a\_",
    "`a`": r"\`a\`",
    "a|b": r"a\|b",
    "$x$": r"\$x\$",
    "~~a~~": r"\~\~a\~\~",
    "<b>": "&lt;b>",
    "&lt;": "&amp;lt;",
    "![a](b)": r"!\[a\](b)",
    "a](b)": r"a\](b)",
    "# a": r"\# a",
    "- a": r"\- a",
    "+ a": r"\+ a",
    "1. a": r"1\. a",
    "2) a": r"2\) a",
    "> a": r"\> a",
    "---": r"\---",
    "===": r"\===",
    "a\\": "a\\\\",
    "a\n\n# b": "a # b",
    "12 a": "12 a",
    "+0.3": "+0.3",
    "#1": "#1",
    "a-b": "a-b",
    "3.5": "3.5",
}


@pytest.mark.parametrize(("text", "written"), MARKS.items())
def test_markdown_shows_just_the_text(text: str, written: str) -> None:
    assert markdown(text) == written


@pytest.mark.parametrize(
    ("text", "written"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("a\nb", "`a b`")]
)
def test_inline_code_is_fenced_by_more_than_it_holds(text: str, written: str) -> None:
    assert markdown_code(text) == written


NAMES = ["$x^$", r"$\frac{", "_hidden", "<script>alert(1)</script>", "a|b", "[/red]", "**", "%d {x}", "中文", *HOSTILE]


def test_pages_hold_no_name_that_is_markup() -> None:
    blocks = [Text(name) for name in NAMES] + [Bullets(NAMES), PageTable(NAMES, [[Value(n, source=n) for n in NAMES]])]
    report = Report("$t$", "<lead>", [Section("<s> |", blocks)], "made")
    page, text = to_html(report), to_markdown(report)
    assert page.encode()
    assert page.count("<script") == 1  # the page's own, which copies tables
    assert "<script>alert" not in page
    assert page.replace("\n", "").isprintable()
    assert text.replace("\n", "").isprintable()
    assert "<script" not in text
    (row,) = [line for line in text.splitlines() if line.startswith(r"| \$x^\$ |")][1:]
    assert row.replace(r"\|", "").count("|") == len(NAMES) + 1


@pytest.mark.filterwarnings("error")
def test_figures_draw_names_as_text(tmp_path: Path) -> None:
    points = [Point(name, 0.5, 0.4, 0.6, x=0.1 * at, floor=0.3) for at, name in enumerate(NAMES)]
    by_name = dict.fromkeys(NAMES, points)
    drawings = {
        "forest": figures.forest(by_name, NAMES[1], "questions"),
        "scatter": figures.scatter(points, NAMES[0], NAMES[1]),
        "cost": figures.cost(points, NAMES[1]),
        "curves": figures.curves(by_name, NAMES[0], NAMES[1], {}),
        "bars": figures.bars(by_name),
        "probes": probes_figure(by_name),
        "reliability": confidence.reliability_figure(
            {name: [{"confidence": 0.5, "accuracy": 0.5, "n": 2}] for name in NAMES}
        ),
    }
    for name, drawing in drawings.items():
        figures.save(drawing, tmp_path, name)
        texts = [one.text for one in ElementTree.parse(tmp_path / f"{name}.svg").iter() if one.text]
        assert {"$x^$", r"$\frac{", "<script>alert(1)</script>", "中文"} <= {text.strip() for text in texts}, name
        assert "_hidden" in {text.strip() for text in texts}, name


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    item = items(2)[0]
    hostile = item.model_copy(update={"question": "Where \x1b]0;title\x07 is [/red] \u202eit \x9b2J?"})
    path.write_text(hostile.line() + "\n")
    return path


def test_preview_shows_a_hostile_row(rows: Path) -> None:
    done = run("preview", str(rows), "--student", "demo")
    assert done.code == 0, done.err
    assert done.err.replace("\n", "").isprintable()
    assert "\\x1b" in done.err.replace("|", "")
    assert "\x1b" in json.loads(done.out)["tokens"]  # data is not changed


def test_data_on_a_terminal_is_escaped_json(rows: Path) -> None:
    ours, theirs = pty.openpty()
    subprocess.run(
        [*warm.command(), "preview", str(rows)], stdout=theirs, stderr=subprocess.DEVNULL, check=True, timeout=120
    )
    os.close(theirs)
    written = b""
    while b"}" not in written[-3:]:
        written += os.read(ours, 65536)
    os.close(ours)
    assert written.decode().replace("\r\n", "").isprintable()
    assert "\x1b" in json.loads(written)["tokens"]


@pytest.fixture
def predictions(tmp_path: Path) -> tuple[str, str]:
    asked = [item.example() for item in items(8)]
    questions, said = tmp_path / "asked.jsonl", tmp_path / "said.jsonl"
    questions.write_text("".join(one.line() + "\n" for one in asked))
    said.write_text("".join(json.dumps({"id": one.id, "answer": one.answer}) + "\n" for one in asked))
    return str(said), str(questions)


@pytest.mark.parametrize("name", ["[bold]x", "[red", "$x^$", "a|b", "<b>", "_a_", "中文"])
def test_a_set_may_be_called_anything_printable(name: str, predictions: tuple[str, str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = run("evaluate", predictions[0], "--data", f"{name}={predictions[1]}", "--html", str(page))
    assert done.code == 0, done.err
    assert json.loads(done.out)["set"] == name
    assert name in done.err
    assert "<b>" not in page.read_text()


def test_what_a_server_says_stays_on_one_plain_line(
    predictions: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with serving(lambda prompt, before: "escapes") as server:
        done = run(
            "elicit",
            "--teacher",
            "openai:m",
            "--base-url",
            server.url,
            "--data",
            predictions[1],
            "--shots",
            "0",
            "--limit",
            "1",
            "--retries",
            "0",
        )
    assert done.code != 0
    assert "red" in done.err
    assert done.err.replace("\n", "").isprintable()
    assert len(done.errors) == 1

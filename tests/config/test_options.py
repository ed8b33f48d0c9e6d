"""Each option is defined once: the command line, YAML and the key of a result are made from the config's fields."""

from __future__ import annotations

import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cotdistill.cli import app
from cotdistill.config import AblateConfig, Config, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.config.option import options_of
from cotdistill.errors import UsageError

COMMANDS: dict[str, type[Config]] = {
    "elicit": ElicitConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
    "ablate": AblateConfig,
}
FIELDS = [(command, path) for command, config in COMMANDS.items() for path in options_of(config)]


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    runner = CliRunner()
    return {
        name: runner.invoke(app, [name, "--help"], env={"COLUMNS": "400", "NO_COLOR": "1"}).output for name in COMMANDS
    }


@pytest.mark.parametrize(("command", "field"), FIELDS)
def test_every_field_is_an_option_with_its_sentence_default_and_panel(
    command: str, field: str, helps: dict[str, str]
) -> None:
    option = options_of(COMMANDS[command])[field]
    shown = helps[command].split("\n Examples")[0]
    assert option.help
    (line,) = [line for line in shown.splitlines() if line.startswith(f"│ {option.name} ")]
    assert option.help in line
    assert all(value in line for value in option.values)
    if option.shown:
        assert f"[default: {option.shown}]" in line
    panels = [line for line in shown[: shown.index(line)].splitlines() if line.startswith("╭─")]
    assert option.panel in panels[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples_and_says_no_option_twice(command: str, helps: dict[str, str]) -> None:
    assert helps[command].split("\n Examples")[1].count(f"cotdistill {command}") >= 2
    flags = [
        word
        for line in helps[command].split("\n Examples")[0].splitlines()
        if line.startswith("│ --")
        for word in line.split()[1:2]
    ]
    assert len(flags) == len(set(flags))


def written(command: str, field: str) -> tuple[list[str], Any, Any]:
    """An option's value: as arguments of the command line, as YAML, and what the config then holds."""
    option = options_of(COMMANDS[command])[field]
    default = option.default
    if option.kind == "flag":
        return [f"--no-{option.name[2:]}" if default else option.name], not default, not default
    if option.kind == "mapping":
        name, text = ("lr", "0.5") if field == "sweep" else ("alpha", "0.5")
        held = DistillConfig if "tuple" not in str(option.type) else tuple
        value = text if held is DistillConfig else ((0.5,) if field == "sweep" else (text,))
        return [option.name, f"{name}={text}"], {name: float(text)}, {name: value}
    if option.kind == "pair":
        return (
            ([option.name, "0.5", "0.75"], [0.5, 0.75], (0.5, 0.75))
            if field == "betas"
            else ([option.name, "lm-eval", "there"], ["lm-eval", "there"], ("lm-eval", Path("there")))
        )
    if field.endswith("reasoning_marker"):
        return [option.name, "<a> </a>"], ["<a> </a>"], ("<a> </a>",)
    if field.endswith("extra_body"):
        return [option.name, '{"top_k": 20}'], {"top_k": 20}, '{"top_k": 20}'
    if option.values:
        usual = default if isinstance(default, tuple) else (default,)
        value = next(one for one in option.values if one not in usual)
        return [option.name, value], value, (value,) if option.kind == "list" else value
    if field == "shard":
        return [option.name, "2/8"], "2/8", "2/8"
    for made, text in ((Path, "there"), (str, "word"), (int, "7"), (float, "0.25")):
        held = option.type if option.kind == "value" else option.type.__args__[0]
        if getattr(held, "__origin__", held) is made:
            read = yaml.safe_load(text)
            return [option.name, text], read, (made(text),) if option.kind in ("list", "repeated") else made(text)
    raise AssertionError(option)


def companion(command: str, field: str) -> tuple[str, tuple[list[str], Any, Any]] | None:
    """An option without which `field` means nothing: its path, and a value of it as `written` gives it."""
    options = options_of(COMMANDS[command])
    section = options[field].section
    for name, equals, values in (need.partition("=") for need in options[field].needs):
        for path in (f"{section}.{name}", name):
            if path in options:
                value = values.split("|")[0].replace("*", "m")
                held = (value,) if options[path].kind == "list" else value
                return path, ([options[path].name, value], value, held) if equals else written(command, path)
    return None


@pytest.mark.parametrize(("command", "field"), FIELDS)
def test_the_command_line_and_yaml_give_the_same_config(
    command: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, value, wanted = written(command, field)
    config = COMMANDS[command]
    file = tmp_path / "options.yaml"
    given = {options_of(config)[field].name.removeprefix("--"): value}
    if (other := companion(command, field)) is not None:
        also, given[options_of(config)[other[0]].name.removeprefix("--")], _ = other[1]
        arguments = [*arguments, *also]
    file.write_text(yaml.safe_dump(given))
    if options_of(config)[field].needs and other is None:
        with pytest.raises(UsageError, match=f"{options_of(config)[field].name} changes nothing here"):
            config.build(file)
        return
    from_yaml = config.build(file)
    assert attrgetter(field)(from_yaml) == wanted
    built = []

    def start(cls: type[Config], options: dict[str, Any]) -> Config:
        built.append(
            cls.build(
                options.pop("config"),
                **{name: one for name, one in options.items() if name not in ("quiet", "debug") and one != []},
            )
        )
        raise UsageError("far enough")

    monkeypatch.setattr("cotdistill.cli.start", start)
    rows = ["rows.jsonl"] if command != "elicit" else []
    CliRunner().invoke(app, [command, *rows, *arguments])
    assert built == [from_yaml]


@pytest.mark.parametrize(
    ("text", "field", "wanted"),
    [
        ("strategies: cot,cascod", "strategies", ("cot", "cascod")),
        ("strategies: [cot, cascod]", "strategies", ("cot", "cascod")),
        ("strategies: cot", "strategies", ("cot",)),
        ("seeds: 3", "seeds", (3,)),
        ("seeds: 0..2", "seeds", (0, 1, 2)),
        ("probe: all", "evaluate.probe", ("all",)),
        ("param: {alpha: 0.3}", "param", {"alpha": ("0.3",)}),
        ("param: [alpha=0.1]", "param", {"alpha": ("0.1",)}),
        ("param: {alpha: [0.1, 0.3]}", "param", {"alpha": ("0.1", "0.3")}),
        ("sweep: {lr: '0.1,0.2'}", "sweep", {"lr": (0.1, 0.2)}),
        ("train-size: 0.5", "train_size", (0.5,)),
        ("train_size: [0.5, 1]", "train_size", (0.5, 1.0)),
        ("data: x.jsonl", "data", ("x.jsonl",)),
    ],
)
def test_yaml_takes_what_the_command_line_takes(text: str, field: str, wanted: object, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    assert attrgetter(field)(AblateConfig.build(file)) == wanted


@pytest.mark.parametrize("text", ["5e-5", "5E-5", "5.0e-05", "0.00005", ".5e-4", "+5e-5"])
def test_numbers_are_those_of_json_too(text: str, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(f"lr: {text}")
    assert DistillConfig.build(file).lr == 5e-5


@pytest.mark.parametrize(
    ("text", "field", "wanted"),
    [
        ("lambda: 0.7\ndecode: rerank", "lambda_", 0.7),
        ("for: scott", "for_", "scott"),
        ("max-new-tokens: 3", "max_new_tokens", 3),
        ("chat: on", "chat", "on"),
        ("chat: off", "chat", "off"),
    ],
)
def test_yaml_names_are_those_of_the_command_line(text: str, field: str, wanted: object, tmp_path: Path) -> None:
    file = tmp_path / "ask.yaml"
    file.write_text(text)
    assert getattr(ElicitConfig.build(file), field) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: '5'", "--steps: must be a number, not the text '5'"),
        ("steps: many", "--steps: must be a number, not the text 'many'"),
        ("lr: .inf", "--lr: input should be a finite number"),
        ("lr: .nan", "--lr: input should be a finite number"),
        ("seed: 100000000000000000000", "--seed: input should be less than or equal to"),
        ("seed: -1", "--seed: input should be greater than or equal to 0"),
        ('out: "a\\0b"', "--out: 'a\\x00b' holds a NUL character"),
        ("[" * 5000, "nested too deeply"),
        ("steps: " + "9" * 5000, "not YAML"),
        ("max_steps: 3", "unknown key 'max_steps'"),
        ("lr: 1\nlr : 2", ""),
        ("dev-every: 3\ndev_every: 4", "is set twice"),
        ("- lr", "must be a mapping"),
        ("lr: [1", "not YAML"),
    ],
)
def test_a_bad_file_is_one_line_that_names_option_or_file(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "cfg.yaml"
    file.write_text(text)
    if not said:
        DistillConfig.build(file)
        return
    with pytest.raises(UsageError) as error:
        DistillConfig.build(file)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_home_directory_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = ElicitConfig.build(None, out="~/rows.jsonl", teacher="recorded:~/said.jsonl", data="~/asked.jsonl")
    assert made.out == tmp_path / "rows.jsonl"
    assert ElicitConfig.build(None, out=Path("~/rows.jsonl")).out == tmp_path / "rows.jsonl"  # quoted in a shell
    assert made.teacher == f"recorded:{tmp_path}/said.jsonl"
    assert made.data == f"{tmp_path}/asked.jsonl"
    assert EvaluateConfig.build(None, data=["set=~/x.jsonl"]).data == (f"set={tmp_path}/x.jsonl",)
    for there in ("~/tasks", Path("~/tasks")):
        assert EvaluateConfig.build(None, export=("lm-eval", there)).export == ("lm-eval", tmp_path / "tasks")
    assert DistillConfig.build(None, plugin=[Path("~/own.py")]).plugin == (tmp_path / "own.py",)
    assert DistillConfig.build(None, strategy="~").strategy == "~"


def test_a_run_card_brings_no_code_and_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tmp_path / "run.json"
    card.write_text('{"config": {"lr": 0.5, "plugin": ["evil.py"], "trust_remote_code": true}}')
    made = DistillConfig.build(card)
    assert (made.lr, made.plugin, made.trust_remote_code) == (0.5, (), False)
    said = " ".join(capsys.readouterr().err.split())
    assert "its --plugin and --trust-remote-code are ignored; give them on the command line" in said
    assert DistillConfig.build(card, trust_remote_code=True).trust_remote_code
    card.write_text('{"config": {"ray": "elsewhere:6379", "strategies": ["cot"]}}')
    assert AblateConfig.build(card).ray is None
    own = tmp_path / "own.yaml"
    own.write_text("trust_remote_code: true\nteacher: openai:m\nbase_url: http://127.0.0.1/v1")
    assert ElicitConfig.build(own).trust_remote_code
    assert "sets --trust-remote-code and --base-url" in " ".join(capsys.readouterr().err.split())


def test_a_key_leaves_out_how_a_run_is_made() -> None:
    plain, other = DistillConfig(), DistillConfig(out=Path("x"), device="cpu", checkpoint_every=3)
    assert plain.defining() == other.defining()
    assert "lr" in plain.defining()


def test_yaml_has_a_section_for_each_of_the_other_commands(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "strategies: cot\nlr: 0.5\ndistill: {lora: r=8, batch-size: 4}\n"
        "evaluate: {batch-size: 5, probe: all}\nelicit: {shots: 2, batch_size: 6}\n"
        "eval-max-new-tokens: 9\n"
    )
    made = AblateConfig.build(file)
    assert (made.lr, made.lora, made.batch_size) == (0.5, "r=8", 4)
    assert (made.evaluate.batch_size, made.evaluate.probe, made.evaluate.max_new_tokens) == (5, ("all",), 9)
    assert (made.elicit.shots, made.elicit.batch_size, made.elicit.hint) == (2, 6, "gold")
    assert not made.evaluate.calibrate  # what a section does not name stays as it was
    for text, said in (
        ("distill: {strategy: cot}", "distill: unknown key 'strategy'"),
        ("evaluate: {connectorz: free}", 'did you mean "connectors"'),
        ("elicit: [3]", "elicit: must be a mapping"),
        ("distill: {lr: 1}\nlr: 2", "'lr' is set twice"),
        ("evaluate: {batch_size: 1}\neval_batch_size: 2", "'eval-batch-size' is set twice"),
        ("evaluate: {batch_size: 0}", "--eval-batch-size: input should be greater than 0"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=re.escape(said)):
            AblateConfig.build(file)


def test_a_study_sets_only_what_was_not_given() -> None:
    given = AblateConfig.build(None, probe=["oracle"], seeds="5")
    made = given.with_defaults({"probe": ("all",), "tags": ("none",), "seeds": (1,), "eval_batch_size": 3})
    assert (made.evaluate.probe, made.tags, made.seeds, made.evaluate.batch_size) == (("oracle",), ("none",), (5,), 3)

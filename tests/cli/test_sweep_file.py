"""The sweep file: errors are one line that names the file and the place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.cli.common import CommandError
from service.cli.sweep_file import read

QUOTED = 'grid.optimizer should be a list; put names with dots in quotes: "optimizer.lr" = [...]'
TABLE = 'file = "birds.csv"\ntarget = "kind"\n'


def test_toml_and_json_are_equivalent(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        TABLE + 'name = "n"\nlabels = {of = "me"}\nreplicates = 2\nfolds = 3\n'
        '[base]\nbatch_size = "full"\n[grid]\n"optimizer.lr" = [0.1, 1]\n'
    )
    (tmp_path / "a.json").write_text(
        json.dumps(
            {
                "file": "birds.csv",
                "target": "kind",
                "name": "n",
                "labels": {"of": "me"},
                "replicates": 2,
                "folds": 3,
                "base": {"batch_size": "full"},
                "grid": {"optimizer.lr": [0.1, 1]},
            }
        )
    )

    found = read(tmp_path / "a.toml")

    assert found == read(tmp_path / "a.json")
    assert (found.table, found.target, found.base) == (tmp_path / "birds.csv", "kind", {"batch_size": "full"})
    assert found.fields["grid"] == {"optimizer.lr": [0.1, 1]}


def test_points_are_tables_and_json_has_null(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TABLE + '[[points]]\nseed = 1\n[[points]]\n"early_stopping.patience" = 3\n')
    (tmp_path / "b.json").write_text('{"base": {"data": {"kind": "synthetic"}}, "points": [{"early_stopping": null}]}')

    assert read(tmp_path / "a.toml").fields == {"points": [{"seed": 1}, {"early_stopping.patience": 3}]}
    assert read(tmp_path / "b.json").fields == {"points": [{"early_stopping": None}]}
    assert read(tmp_path / "b.json").table is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", TABLE + "replicate = 3", "unknown field 'replicate'; did you mean 'replicates'?"),
        ("a.toml", TABLE + "rate = 3", "unknown field 'rate'; the fields are file, target, base, name, labels, grid"),
        ("a.toml", 'file = "birds.csv', "Unterminated string"),
        ("a.toml", "a = 1\nb = \n", "Invalid value (at line 2, column 5)"),
        ("a.toml", 'file = "birds.csv"', "file needs target"),
        (
            "a.toml",
            TABLE + "[space]\noptimizer.lr = { log = [1, 2] }",
            'space.optimizer should be one parameter; put names with dots in quotes: "optimizer.lr" = {...}',
        ),
        ("a.toml", 'target = "kind"', "target needs file"),
        ("a.toml", "replicates = 3", "no data: set file and target, or base.data"),
        ("a.toml", "file = 3", "file should be text"),
        ("a.toml", TABLE + "base = 3", "base should be a table"),
        ("a.toml", TABLE + "[base]\ndata = 3", "base.data should be a table"),
        ("a.toml", TABLE + "[grid]\noptimizer.lr = [1]", QUOTED),
        ("a.toml", TABLE + "[[points]]\n[[points]]\nname = 2020-01-01", "points[1].name is a date; put it in quotes"),
        ("a.toml", TABLE + "[base]\nname = 10:00:00", "base.name is a date; put it in quotes"),
        ("a.toml", TABLE + "[base.optimizer]\nlr = nan", "base.optimizer.lr is not a finite number"),
        ("a.json", '{"file": ', "Expecting value: line 1 column 10"),
        ("a.JSON", "[]", "should be an object"),
        ("a.json", '{"replicates": Infinity}', "replicates is not a finite number"),
        ("a.json", "[" * 100_000, "decoding a JSON array"),
        ("a.toml", "\0", "Invalid statement"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_and_the_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(CommandError) as raised:
        read(path)

    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_binary_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(CommandError, match="can't decode byte 0xff"):
        read(tmp_path / "a.toml")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "b.toml")


def test_the_file_of_a_search_has_a_space_with_conditions(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        TABLE + 'model = "birds"\n[space]\n"optimizer.kind" = {choice = ["adam", "sgd"]}\n'
        '"optimizer.momentum" = {uniform = [0, 0.9], when = {"optimizer.kind" = ["sgd"]}}\n'
        '[search]\nkind = "random"\ntrials = 3\n'
    )

    fields = read(tmp_path / "a.toml").fields

    assert fields["space"]["optimizer.momentum"] == {"uniform": [0, 0.9], "when": {"optimizer.kind": ["sgd"]}}
    assert (fields["search"], fields["model"]) == ({"kind": "random", "trials": 3}, "birds")

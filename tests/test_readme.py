"""The README says what is: its settings, its routes and its rooms are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from service.api.app import create_app
from service.artifacts import Artifacts
from service.predictor import Predictor
from service.settings import Settings
from service.spec.architecture import Architecture
from service.spec.lowering import lower
from service.store.engine import Database

README = Path("README.md").read_text()


def shown(default: Any) -> str:
    if default in (None, ""):
        return ""
    return f"`{default.get_secret_value() if isinstance(default, SecretStr) else default}`"


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    rows = re.findall(r"^\| `BESTEPOCH_(\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)

    assert rows == [
        (name.upper(), shown(field.default), field.description) for name, field in Settings.model_fields.items()
    ]


def test_every_route_stands_in_the_readme(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    app = create_app(Settings(home=tmp_path), database, Artifacts(tmp_path), Predictor())
    served = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}

    written = re.findall(r"`(GET|POST|DELETE|PATCH|PUT) (/[^?`]*)[^`]*`", README.split("## The API")[1].split("## ")[0])

    assert set(written) == served
    database.close()


def test_every_network_of_the_readme_can_be_asked_for() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", README.split("## Networks")[1].split("\n## ")[0], re.DOTALL)
    decoder, rest, kinds = json.JSONDecoder(), block.strip(), []

    while rest:
        body, end = decoder.raw_decode(rest)
        network = TypeAdapter(Architecture).validate_python(body)
        kinds.append(network.kind)
        assert lower(network, 64, 10)[-1].outputs == 10
        rest = rest[end:].strip()

    assert kinds == ["mlp", "cnn", "layers"]


def test_every_room_stands_in_the_readme() -> None:
    written = set(re.findall(r"^  (\w+(?:/|\.py)) ", README, re.MULTILINE))

    rooms = {path.name + "/" * path.is_dir() for path in Path("service").glob("[a-z]*")}
    assert written == {room for room in rooms if not room.startswith("__")} - {"py.typed"}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make (\w+)`", README)) | {"demo", "test"}))
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", Path("Makefile").read_text(), re.MULTILINE)

"""Write the generated sections of docs/reference from the code: `python -m tools.reference`.

A section lies between `<!-- generated: NAME -->` and `<!-- end -->`. A test fails when one is out of date.
"""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import typer
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr, TypeAdapter
from starlette.testclient import TestClient

import bestepoch
from service import errors
from service.api.app import create_app
from service.api.http import problems
from service.artifacts import FolderArtifacts
from service.cli import app as command_line
from service.client.models import Models
from service.client.served_model import ServedModel
from service.domain.epoch import Epoch
from service.domain.event import Event
from service.domain.status import ErrorCode, Status, StopReason
from service.serving.predictor import Predictor
from service.settings import Settings
from service.spec.early_stopping import CLASSIFICATION, REGRESSION, Monitor
from service.spec.job import JobSpec
from service.spec.read_options import ReadOptions
from service.spec.search import Search
from service.spec.space import Space
from service.spec.sweep import SweepSpec
from service.store.engine import Database, migrate
from tools.markdown import fields_table, model_tables, prose, table

DOCS = Path(__file__).parents[1] / "docs"
SECTION = re.compile(r"(?<=<!-- generated: )(?P<name>\w+)(?P<open> -->\n).*?(?=<!-- end -->)", re.DOTALL)
TITLES = {"jobs": "Jobs", "progress": "Progress", "checkpoints": "Checkpoints", "predictions": "Predictions"}


def settings() -> str:
    """Every environment variable, with its default and what it does."""

    def shown(default: Any) -> str:
        if default in (None, ""):
            return ""
        return f"`{default.get_secret_value() if isinstance(default, SecretStr) else default}`"

    rows = (
        (f"`BESTEPOCH_{name.upper()}`", shown(field.default), field.description or "")
        for name, field in Settings.model_fields.items()
    )
    return table(("variable", "default", "description"), rows)


@contextmanager
def application() -> Iterator[FastAPI]:
    """The API on an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/reference.db"
        migrate(url)
        database = Database(url)
        yield create_app(Settings(home=Path(folder)), database, FolderArtifacts(Path(folder)), Predictor())
        database.close()


def endpoints() -> str:
    """Every route of the API: what it does and its parameters."""
    with application() as api:
        described = api.openapi()["paths"]
    by_tag: dict[str, list[str]] = {}
    for path, item in described.items():
        for method, operation in item.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    return "\n".join(f"## {_title(tag)}\n\n{''.join(found)}" for tag, found in by_tag.items())


def _title(tag: str) -> str:
    return TITLES.get(tag, tag.capitalize())


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    heading = f"### `{method.upper()} {path}`\n\n{prose(operation['description'])}\n\n"
    given = [each for each in operation.get("parameters", []) if each["in"] != "path"]
    if not given:
        return heading
    rows = ((f"`{each['name']}`", each["in"], each.get("description", "")) for each in given)
    return heading + table(("parameter", "in", "description"), rows) + "\n"


def commands() -> str:
    """Every command of `bestepoch` with its arguments and options."""
    group: Any = typer.main.get_command(command_line)
    return "\n".join(_command(words, command) for words, command in _commands(group, ()))


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _command(words: tuple[str, ...], command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = "".join(f" {(each.name or '').upper()}" for each in shown if each.param_type_name == "argument")
    heading = f"### `bestepoch {' '.join(words)}{arguments}`\n\n{prose(command.help or '')}\n"
    rows = (
        (_name(each), _default(each), each.help or "")
        for each in shown
        if each.param_type_name == "option" or each.help
    )
    found = list(rows)
    return heading + ("\n" + table(("option", "default", "description"), found) if found else "")


def _name(parameter: Any) -> str:
    names = (*parameter.opts, *parameter.secondary_opts)
    return ", ".join(f"`{name if name.startswith('-') else name.upper()}`" for name in names)


def _default(parameter: Any) -> str:
    default = parameter.default
    return "" if default is None or parameter.required or callable(default) else f"`{default}`"


def error_codes() -> str:
    """Every `code` of an error's answer, with its HTTP status."""
    rows: set[tuple[str, str, str]] = {
        (f"`{kind.code}`", str(int(status)), (kind.__doc__ or "").strip())
        for kind, status in problems.STATUSES.items()
        if kind is not errors.UnknownKey
    }
    rows |= {(f"`{code}`", str(int(status)), meaning) for status, (code, meaning) in problems.HTTP_CODES.items()}
    ordered = sorted(rows, key=lambda row: (row[1], row[0], row[2]))
    return table(("code", "status", "meaning"), ordered)


def prometheus() -> str:
    """Every metric that `/metrics` serves, in Prometheus's format."""
    with application() as api, TestClient(api, base_url="http://localhost") as client:
        text = client.get("/metrics").text
    families = list(text_string_to_metric_families(text))
    rows = (
        (f"`{each.name}{'_total' if each.type == 'counter' else ''}`", each.type, each.documentation)
        for each in families
        if each.name.startswith("bestepoch_") and not each.name.endswith("_created")
    )
    return table(("metric", "type", "description"), rows)


def job_spec() -> str:
    """The fields of a job spec."""
    return model_tables(JobSpec)


def sweep_request() -> str:
    """The fields of a sweep request, without those of the job spec in it."""
    return fields_table(SweepSpec.model_json_schema(), linked=False)


def search_request() -> str:
    """The parameters of a space, and the kinds of searches, with their fields."""
    named = {**TypeAdapter(Space).json_schema()["$defs"], **TypeAdapter(Search).json_schema()["$defs"]}
    parts = [
        f"### {each['title']}\n\n{prose(each.get('description', ''))}\n\n{fields_table({**each, '$defs': named})}"
        for each in named.values()
    ]
    return "\n".join(parts)


def read_options() -> str:
    """How a client may say that a file is to be read."""
    return fields_table(ReadOptions.model_json_schema())


def history() -> str:
    """The fields of one row of a history."""
    return fields_table(Epoch.model_json_schema(mode="serialization"))


def event() -> str:
    """The fields of one entry of a job's event log."""
    return fields_table(Event.model_json_schema(mode="serialization"))


def make_targets() -> str:
    """The targets of the Makefile, as `make help` lists them."""
    text = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    found = re.findall(r"^([a-z][a-z0-9-]*):[^#\n]*## (.+)$", text, re.MULTILINE)
    return table(("command", "description"), ((f"`make {name}`", description) for name, description in found))


def monitors() -> str:
    """The metrics that early stopping can monitor."""
    tasks = {**dict.fromkeys(CLASSIFICATION, "classification"), **dict.fromkeys(REGRESSION, "regression")}
    rows = (
        (f"`{each}`", tasks.get(each, "both"), "larger" if each.larger_is_better else "smaller") for each in Monitor
    )
    return table(("metric", "task", "better is"), rows)


def client() -> str:
    """The public methods of the Python client."""
    names = (name for name in bestepoch.__all__ if name[0] != "_")
    found = [getattr(bestepoch, name) for name in sorted(names, key=_reading_order)]
    listed = [*found, ServedModel, Models]
    return "\n".join(_class(kind, listed) for kind in listed)


def _reading_order(name: str) -> tuple[bool, str]:
    return name not in ("Client", "Job", "Sweep", "Model"), name


def _class(kind: type, listed: list[type]) -> str:
    """A class with its methods, and those that it inherits from a class that is not listed itself."""
    bases = takewhile(lambda base: base is kind or base not in listed, kind.__mro__)
    own = [base for base in bases if base.__module__.startswith("service.")]
    found = {name: each for base in reversed(own) for name, each in vars(base).items()}
    methods = {name: each for name, each in found.items() if inspect.isfunction(each) and name[0] != "_"}
    rows = ((f"`{name}{_signature(each)}`", inspect.getdoc(each) or "") for name, each in methods.items())
    heading = f"## `{kind.__name__}`\n\n{prose(inspect.getdoc(kind) or '')}\n"
    return heading + (f"\n{table(('method', 'description'), rows)}" if methods else "")


def _signature(function: Any) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return str(inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters]))


def states() -> str:
    """States, stop reasons and error codes of jobs."""
    return table(
        ("field", "values"),
        (
            (f"`{name}`", ", ".join(f"`{value}`" for value in values))
            for name, values in (("status", Status), ("stop_reason", StopReason), ("error.code", ErrorCode))
        ),
    )


SECTIONS: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        settings,
        endpoints,
        commands,
        error_codes,
        prometheus,
        job_spec,
        sweep_request,
        search_request,
        read_options,
        history,
        event,
        make_targets,
        monitors,
        client,
        states,
    )
}


def rendered(text: str) -> str:
    """A page's text with its generated sections as the code has them now."""

    def render(found: re.Match[str]) -> str:
        return f"{found['name']}{found['open']}\n{SECTIONS[found['name']]().strip()}\n\n"

    return SECTION.sub(render, text)


def pages() -> list[Path]:
    """The pages that have generated sections."""
    return [page for page in sorted(DOCS.rglob("*.md")) if SECTION.search(page.read_text(encoding="utf-8"))]


def main() -> None:
    """Write all of them."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        if (after := rendered(before)) != before:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()

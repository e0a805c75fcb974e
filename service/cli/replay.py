"""The command `replay`: what other searches and stopping rules would have cost a sweep, and what they would miss."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import DEFAULT_URL, ApiKey, AsJson, CommandError, Url, connect, print_table
from service.spec.sweep_replay import Halving

if TYPE_CHECKING:
    from service.domain.sweep_replay import ReplayedRule

app = typer.Typer()


@app.command()
def replay(
    sweep_id: Annotated[str, typer.Argument(metavar="SWEEP", help="Sweep id.")],
    halving: Annotated[
        list[int] | None, typer.Option(help="Successive halving that promotes one trial in so many; repeatable.")
    ] = None,
    min_epochs: Annotated[int | None, typer.Option(help="Epochs of the first rung of halving.")] = None,
    patience: Annotated[
        list[int] | None, typer.Option(help="Early-stopping patience of each job, in epochs; repeatable.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="JSON", help='Any rule, as in {"rule": "gl", "alpha": 2.0}; repeatable.'),
    ] = None,
    revive: Annotated[
        bool, typer.Option("--revive", help="Resume pruned jobs whose curves are too short to tell.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Replay other searches and stopping rules over the recorded curves of a sweep, without training."""
    rules: list[Any] = [{"kind": "halving", "eta": eta, "min_epochs": min_epochs} for eta in halving or ()]
    rules += [{"patience": epochs} for epochs in patience or ()]
    rules += map(_parse, rule or ())
    if not rules:
        raise CommandError("name a rule: --halving, --patience or --rule")
    with connect(url, api_key) as client:
        sweep = client.sweep_of(sweep_id)
        found = sweep.replay(*rules)
        revived = sweep.revive(found) if revive else []
    if as_json:
        typer.echo(found.model_dump_json())
        return
    print_table(("rule", "epochs", "saved", "best trial", found.monitor, "regret", "exact"), map(_cells, found.data))
    for each in found.data:
        typer.echo(each.reason)
    if revived:
        typer.echo(f"Revived {len(revived)} jobs: replay again when they have ended.")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise CommandError(f"--rule {text!r} is not JSON") from None


def _cells(found: ReplayedRule) -> list[str]:
    winner = ["", ""] if found.winner is None else [str(found.winner.trial), f"{found.winner.value:.4f}"]
    regret = "" if found.relative_regret is None else f"{found.relative_regret:.1%}"
    return [_name(found), f"{found.epochs:,}", f"{found.saved:.1%}", *winner, regret, "yes" if found.exact else "no"]


def _name(found: ReplayedRule) -> str:
    """The rule in short: its kind, and the settings that are not the defaults."""
    rule = found.rule
    kind = rule.kind if isinstance(rule, Halving) else rule.rule
    defaults = {name: field.default for name, field in type(rule).model_fields.items()}
    own = {name: value for name, value in rule.model_dump(mode="json").items() if name not in ("kind", "rule")}
    settings = {name: value for name, value in own.items() if value != defaults[name] or name in ("eta", "patience")}
    return " ".join([kind, *(f"{name}={value}" for name, value in settings.items())])

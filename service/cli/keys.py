"""`bestepoch keys`: create, list and revoke API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from service.domain.access import DEFAULT_TENANT, TENANT, Scope

if TYPE_CHECKING:
    from service.store.keys import Key

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@app.command(name="create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Tenant that the key gives access to.")] = DEFAULT_TENANT,
    scope: Annotated[Scope, typer.Option(help="read: view and predict; submit: also train; admin: also delete.")] = (
        Scope.submit
    ),
    expires: Annotated[str | None, typer.Option(help="Expiry: a number of days, or a date as in 2027-01-31.")] = None,
    name: Annotated[str | None, typer.Option(help="Description.")] = None,
) -> None:
    """Create an API key and print it once; only its SHA-256 is stored. Once a key exists, every request needs one."""
    from service.cli.startup import database_of, read_settings
    from service.store import keys

    if TENANT.fullmatch(tenant) is None:
        raise typer.BadParameter(f"{tenant!r} is not 1 to 63 of a-z, 0-9, - and _", param_hint="--tenant")
    until = None if expires is None else _parse_expiry(expires)
    with database_of(read_settings()) as database, database.transaction() as connection:
        key, text = keys.create(connection, tenant, scope, name=name, expires_at=until)
    typer.echo(f"{key.id}: scope {key.scope}, tenant {key.tenant}, {_expiry(key)}", err=True)
    typer.echo(text)


@app.command(name="list")
def list_keys(tenant: Annotated[str | None, typer.Option(help="Only keys of this tenant.")] = None) -> None:
    """List API keys without their secrets: id, tenant, scope, status, expiry, name."""
    from service.cli.startup import database_of, read_settings
    from service.store import keys

    with database_of(read_settings()) as database, database.reading() as connection:
        found = keys.find(connection, tenant)
    for key in found:
        typer.echo(f"{key.id}  {key.tenant:12}  {key.scope:6}  {key.status:7}  {_expiry(key):18}  {key.name or ''}")


@app.command(name="revoke")
def revoke_key(key: Annotated[str, typer.Argument(metavar="ID", help="As `bestepoch keys list` prints it.")]) -> None:
    """Revoke an API key; takes effect within a second."""
    from service.cli.startup import database_of, read_settings
    from service.store import keys

    with database_of(read_settings()) as database, database.transaction() as connection:
        revoked = keys.revoke(connection, key)
    typer.echo(f"{revoked.id} is revoked")


def _parse_expiry(expires: str) -> datetime:
    try:
        if expires.isdecimal():
            until = datetime.now(UTC) + timedelta(days=int(expires))
        else:
            until = datetime.fromisoformat(expires)
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{expires!r} is neither days nor a date", param_hint="--expires") from None
    if until <= datetime.now(UTC):
        raise typer.BadParameter(f"{expires!r} is in the past", param_hint="--expires")
    return until


def _expiry(key: Key) -> str:
    return f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "no expiry"

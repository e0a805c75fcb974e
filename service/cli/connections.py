"""`bestepoch connections`: declare, list, test and remove connections that data sets are read from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import CommandError
from service.domain.access import TENANT
from service.domain.connection import EVERY_TENANT

if TYPE_CHECKING:
    from service.domain.connection import Connection
    from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Declare, list, test and remove connections that data sets are read from.")

Name = Annotated[str, typer.Argument(help="Name of the connection, as requests give it.")]
Tenant = Annotated[str, typer.Option(help="Tenant that may use it; by default all.")]
Url = Annotated[
    str,
    typer.Argument(
        help="s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, https://HOST/PATH, file:///FOLDER or "
        "postgresql://USER@HOST:PORT/DATABASE."
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="s3: region, endpoint, ca_file; az: account_name, endpoint, ca_file; https: ca_file. Repeatable.",
    ),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=REFERENCE",
        help="A secret as env:VARIABLE or file:/PATH, read by the API when it is needed. s3: access_key_id, "
        "secret_access_key, session_token; gs: service_account_key; az: account_key or sas_token; https: token, or "
        "user and password; postgresql: password. Repeatable.",
    ),
]
AllowPrivate = Annotated[
    bool, typer.Option("--allow-private", help="Allow a loopback, private or link-local address, and http://.")
]
TEST_SECONDS = 30.0


@app.command(name="add")
def add_connection(
    name: Name,
    url: Url,
    option: Options = None,
    secret: Secrets = None,
    tenant: Tenant = EVERY_TENANT,
    allow_private: AllowPrivate = False,
) -> None:
    """Declare a connection. The database stores references to secrets, never secrets. Then run `connections test`."""
    from datetime import UTC, datetime

    from service.cli.startup import database_of, read_settings
    from service.connections.declaration import check
    from service.domain.connection import Connection
    from service.store import connections
    from service.store.ids import new_id

    if tenant != EVERY_TENANT and TENANT.fullmatch(tenant) is None:
        raise typer.BadParameter(f"{tenant!r} is not 1 to 63 of a-z, 0-9, - and _", param_hint="--tenant")
    settings = read_settings()
    options, secrets = _pairs(option, "--option"), _references(secret)
    private = settings.home, settings.artifacts
    kind = check(name, url, options, secrets, allow_private=allow_private, private=private)
    declared = Connection(
        id=new_id("con"),
        name=name,
        kind=kind,
        created_at=datetime.now(UTC),
        tenant=tenant,
        url=url,
        options=options,
        secrets=secrets,
        allow_private=allow_private,
    )
    with database_of(settings) as database, database.transaction() as connection:
        connections.add(connection, declared)
    typer.echo(f"{name}: {kind}, {_tenants(tenant)}")


@app.command(name="list")
def list_connections(
    tenant: Annotated[str | None, typer.Option(help="Only those declared for this tenant.")] = None,
) -> None:
    """List connections: name, tenant, kind, URL, options and references to secrets."""
    from service.cli.startup import database_of, read_settings
    from service.store import connections

    with database_of(read_settings()) as database, database.reading() as connection:
        found = connections.find(connection, tenant)
    for each in found:
        pairs = [f"{name}={value}" for name, value in (each.options | each.secrets).items()]
        extra = " ".join([*pairs, *(["allow-private"] if each.allow_private else [])])
        typer.echo(f"{each.name:16}  {each.tenant:12}  {each.kind:10}  {each.url}  {extra}".rstrip())


@app.command(name="remove")
def remove_connection(name: Name, tenant: Tenant = EVERY_TENANT) -> None:
    """Remove a connection. Data sets that were read from it stay, and can no longer be refreshed."""
    from service.cli.startup import database_of, read_settings
    from service.store import connections

    with database_of(read_settings()) as database, database.transaction() as connection:
        connections.remove(connection, name, tenant)
    typer.echo(f"{name} is removed")


@app.command(name="test")
def check_connection(
    name: Name,
    tenant: Tenant = EVERY_TENANT,
    path: Annotated[str | None, typer.Option(help="Also read the files of this path or pattern.")] = None,
    query: Annotated[str | None, typer.Option(help="Also run this query.")] = None,
) -> None:
    """Connect as the API would, with the secrets that this process can read; prints what was found."""
    from service.cli.startup import database_of, read_settings
    from service.store import connections

    settings = read_settings()
    with database_of(settings) as database, database.reading() as connection:
        found = [each for each in connections.find(connection, tenant) if each.name == name]
    if not found:
        raise CommandError(f"no connection {name!r} of {_tenants(tenant)}")
    with tempfile.TemporaryDirectory() as folder:
        _test(settings, found[0], Path(folder), path, query)


def _test(settings: Settings, connection: Connection, folder: Path, path: str | None, query: str | None) -> None:
    """Read the connection; raises what `fetch` raises."""
    from service.connections import patterns
    from service.connections.fetch import fetch
    from service.connections.messages import FetchLimits
    from service.data.processes.runner import Allowance
    from service.domain.connection import ConnectionKind
    from service.settings import file_reader_environment, read_secret

    if (path is not None and connection.kind is ConnectionKind.postgresql) or (
        query is not None and connection.kind is not ConnectionKind.postgresql
    ):
        raise CommandError("a postgresql connection takes --query, any other --path")
    if path is not None and (fault := patterns.fault(path)):
        raise CommandError(f"the path {fault}")
    allowed = Allowance(
        memory_bytes=settings.max_ingest_bytes,
        unpacked_bytes=settings.max_upload_bytes,
        seconds=settings.max_fetch_seconds,
        environment=file_reader_environment(),
    )
    seconds = settings.max_fetch_seconds if path or query else TEST_SECONDS
    limits = FetchLimits(rows=settings.max_query_rows, size_bytes=settings.max_upload_bytes, seconds=seconds)
    files = fetch(connection, folder, allowed, limits, read_secret, path=path, query=query)
    for file in files:
        typer.echo(f"{file.size_bytes:>15,}  {file.path}")
        for warning in file.warnings:
            typer.echo(f"warning: {warning}")
    typer.echo(f"{connection.name} answers")


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """`NAME=VALUE` arguments as a dict."""
    pairs: dict[str, str] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"{name!r} has no value: write NAME=VALUE", param_hint=option)
        pairs[name] = value
    return pairs


def _references(given: list[str] | None) -> dict[str, str]:
    """The references to secrets, by name."""
    secrets = _pairs(given, "--secret")
    if not all(reference.startswith(("env:", "file:/")) for reference in secrets.values()):
        message = "a secret is a reference: NAME=env:VARIABLE or NAME=file:/PATH"
        raise typer.BadParameter(message, param_hint="--secret")
    return secrets


def _tenants(tenant: str) -> str:
    return "all tenants" if tenant == EVERY_TENANT else f"tenant {tenant!r}"

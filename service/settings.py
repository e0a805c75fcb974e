"""One frozen Settings, read once; the only reader of the environment."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an operator can set, each as an environment variable with the prefix `BESTEPOCH_`."""

    model_config = SettingsConfigDict(
        env_prefix="BESTEPOCH_", env_ignore_empty=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    home: Path = Path("~/.bestepoch")
    """Folder of the SQLite file, the artifacts and the trainers' logs."""
    database_url: str = ""
    """`sqlite:///FILE` or `postgresql://...`; empty: `bestepoch.db` in HOME."""
    database_password_file: Path | None = None
    """File with the password of a `postgresql://USER@HOST/NAME`, such as a container's secret."""
    artifacts_url: str = ""
    """Folder of data sets and checkpoints, shared by API and workers; empty: `artifacts` in HOME."""
    group_access: bool = False
    """`true`: files and folders are the group's too, for an API and workers of different users."""
    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback one needs a key."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 picks a free one."""
    hosts: str = ""
    """Names besides `localhost` and HOST that clients may call this server by, with commas between."""
    origins: str = ""
    """Other sites whose pages may call this server, such as `https://team.example`, with commas between."""
    api_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """An admin key of tenant `default`, 16 characters or more off loopback; `bestepoch keys create` makes others."""
    api_key_file: Path | None = None
    """File with that key instead, such as a container's secret."""
    trainers: Annotated[int, Field(ge=0, le=256)] = 0
    """Trainer processes of a worker; 0: one per GPU where there are GPUs, else one per core."""
    trainer_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Torch threads of each trainer; 1 keeps results bit-identical."""
    array_width: Annotated[int, Field(ge=0, le=4_096)] = 0
    """Jobs alike that a trainer trains as one array at most; 0: 16 on a CPU, 256 on a GPU."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda)$")] = "auto"
    """What trainers use: `auto`, `cpu` or `cuda`."""
    lease_seconds: Annotated[float, Field(ge=1.0, le=3_600.0)] = 15.0
    """A worker that gives no sign of life for this long loses its jobs to others."""
    save_seconds: Annotated[float, Field(ge=0.0, le=86_400.0)] = 10.0
    """Seconds from one saved state to the next, trained again after a crash; more where saving costs."""
    keep: Annotated[str, Field(pattern=r"^(last|state|last,state|state,last|none)$")] = "last,state"
    """What ended jobs keep beside the best checkpoint: `last`, and the `state` that a fork goes on from; or `none`."""
    stall_seconds: Annotated[float, Field(ge=1.0, le=86_400.0)] = 600.0
    """A trainer that makes no step for this long is killed, and its job tried again."""
    statement_seconds: Annotated[float, Field(ge=1.0, le=3_600.0)] = 30.0
    """Seconds that a statement may take in Postgres; one that takes longer is ended, and its request gets a 503."""
    log_level: Annotated[str, Field(pattern=r"^(debug|info|warning|error)$")] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: Annotated[str, Field(pattern=r"^(console|json)$")] = "console"
    """`console`: lines for people; `json`: an object a line, for programs."""
    max_log_bytes: Annotated[int, Field(ge=1024**2)] = 256 * 1024**2
    """Bytes of the logs of training attempts on a machine together; the oldest are deleted."""
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Days until an ended job is deleted, with its history and checkpoints; 0: never."""
    grace_hours: Annotated[float, Field(ge=0.0, le=8_760.0)] = 24.0
    """Hours that files of deleted jobs and data sets, and replaced checkpoints, stay for a backup under way to find."""
    trash_days: Annotated[float, Field(ge=0.0, le=3_650.0)] = 7.0
    """Days that files without a row, which nobody deleted, stay in the artifacts folder's `trash`."""
    max_superseded_bytes: Annotated[int, Field(ge=0)] = 4 * 1024**3
    """Bytes of replaced checkpoints that a trainer leaves during these hours; beyond it the oldest go at once."""
    max_upload_bytes: Annotated[int, Field(ge=1)] = 2 * 1024**3
    """Largest upload in bytes, packed and unpacked; larger ones get 413."""
    max_dataset_bytes: Annotated[int, Field(ge=1)] = 100 * 1024**3
    """Bytes that a tenant's data sets may take together; an upload beyond gets 413."""
    max_profile_bytes: Annotated[int, Field(ge=1)] = 16 * 1024**2
    """Bytes that the values listed in a data set's profile may take; rarer ones are left out, with a warning."""
    max_tenant_bytes: Annotated[int, Field(ge=0)] = 1024**4
    """Bytes of a tenant at most: data sets, checkpoints, histories, unfinished uploads; more gets 413; 0: no limit."""
    max_ingest_bytes: Annotated[int, Field(ge=64 * 1024**2)] = 1024**3
    """Memory in bytes that the process reading an upload may use."""
    max_model_bytes: Annotated[int, Field(ge=0)] = 1024**3
    """Memory in bytes of the models that are kept ready to predict, the least recently used going first."""
    max_queued_jobs: Annotated[int, Field(ge=1)] = 100_000
    """Queued and paused jobs of a tenant at most; one more gets 429."""
    max_running_jobs: Annotated[int, Field(ge=0)] = 0
    """Jobs of a tenant that train at a time at most, others going first; 0: no limit."""
    max_sweep_jobs: Annotated[int, Field(ge=1)] = 10_000
    """Jobs of a sweep at most."""
    max_parameters: Annotated[int, Field(ge=1)] = 100_000_000
    """Trained values of a network at most."""
    max_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000_000
    """Epochs of a job at most."""
    max_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    """Seconds of training of a job at most, which jobs get that ask for none; 0: no limit."""
    max_job_bytes: Annotated[int, Field(ge=0)] = 0
    """Memory in bytes that training a job may take, by estimate; 0: what this machine has."""
    max_streams: Annotated[int, Field(ge=1)] = 2_000
    """Streams and waits (`?wait=`) of a tenant open at a time, of each process of the API; one more gets 429."""
    max_connections: Annotated[int, Field(ge=0)] = 0
    """Connections open at a time, of each process of the API; 0: as many as the limit of open files allows."""
    max_failed_keys_per_minute: Annotated[int, Field(ge=0)] = 60
    """Unknown keys from an address in a minute; further ones get 429; 0: no limit."""
    max_requests_per_second: Annotated[float, Field(ge=0.0)] = 0.0
    """Requests of a tenant in a second, of each process of the API; more get 429; 0: no limit."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Put what files say where it belongs; the files themselves are not asked again."""
        given = dict(given)
        if path := given.get("api_key_file"):
            if given.get("api_key"):
                raise ValueError("BESTEPOCH_API_KEY and BESTEPOCH_API_KEY_FILE are both set: give one of them")
            given["api_key"] = _secret(path, "BESTEPOCH_API_KEY_FILE")
        if path := given.get("database_password_file"):
            password = _secret(path, "BESTEPOCH_DATABASE_PASSWORD_FILE")
            given["database_url"] = _with_password(given.get("database_url", ""), password)
        return given

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("artifacts_url")
    @classmethod
    def _local(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("", "file"):
            raise ValueError("artifacts live in a folder: give a path")
        return url

    @property
    def is_loopback(self) -> bool:
        """Whether none but this machine can reach the server."""
        return _is_loopback(self.host)

    @property
    def names(self) -> frozenset[str]:
        """What the header `Host` may say; empty: anything, as none are given and others need the key."""
        if not (self.hosts or self.is_loopback):
            return frozenset()
        return frozenset({"localhost", "127.0.0.1", "::1", self.host.lower(), *_listed(self.hosts.lower())})

    @property
    def sites(self) -> frozenset[str]:
        """The origins whose pages may call."""
        return frozenset(_listed(self.origins))

    @property
    def database(self) -> str:
        """The database's URL, resolved."""
        return self.database_url or f"sqlite:///{self.home / 'bestepoch.db'}"

    @property
    def artifacts(self) -> Path:
        """The artifacts' folder, resolved."""
        return Path(self.artifacts_url.removeprefix("file://") or self.home / "artifacts").expanduser().absolute()

    @property
    def logs(self) -> Path:
        """Folder of the trainers' logs."""
        return self.home / "logs"


def _secret(path: str | Path, variable: str) -> str:
    """What a file holds, without the end of its line."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{variable}: the file {path} cannot be read: {error}") from None
    if not text:
        raise ValueError(f"{variable}: the file {path} is empty")
    return text


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at or not user:
        raise ValueError("BESTEPOCH_DATABASE_PASSWORD_FILE needs a BESTEPOCH_DATABASE_URL with a user in it")
    if ":" in user:
        raise ValueError(
            "BESTEPOCH_DATABASE_URL has a password, and BESTEPOCH_DATABASE_PASSWORD_FILE another: give one"
        )
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


READERS_ENVIRONMENT = (
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
)
"""What a process that reads strangers' files is told of the environment; anything else may be secret."""


def readers_environment() -> dict[str, str]:
    """The environment of a process that reads strangers' files."""
    return {name: os.environ[name] for name in READERS_ENVIRONMENT if name in os.environ}


def import_nothing_from_here() -> None:
    """Keep Python's search for modules out of the current folder, in this process and in those that it starts.

    `python -m` and `python -c`, which is how trainers and helpers are started, look there first otherwise.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    here = {"", str(Path.cwd())}
    if not sys.flags.safe_path and sys.path and sys.path[0] in here:
        del sys.path[0]


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def memory_bytes() -> int:
    """Memory of this machine, or what its control group leaves of it to us."""
    there_is = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(there_is, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such group, or one without a bound
        return there_is


def free_port(host: str) -> int:
    """A port of `host` that nobody listens on right now."""
    family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])

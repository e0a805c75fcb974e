"""The settings, read once from the environment, which no other module reads."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, IPvAnyAddress, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.secret_files import secret_in, with_password

OBJECT_STORES = ("s3", "gs", "az")  # schemes of URLs


class Settings(BaseSettings):
    """The settings, each an environment variable with the prefix `BESTEPOCH_`."""

    model_config = SettingsConfigDict(
        env_prefix="BESTEPOCH_", env_ignore_empty=True, frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    home: Path = Path("~/.bestepoch")
    """Folder of the SQLite database, the artifacts and the trainers' logs."""
    database_url: str = ""
    """`sqlite:///FILE` or `postgresql://...`; empty: `bestepoch.db` in HOME."""
    database_password_file: Path | None = None
    """File with the password of a `postgresql://USER@HOST/NAME`, such as a container's secret."""
    artifacts_url: str = ""
    """Store of data sets and checkpoints, shared by API and workers: a folder, or `s3://BUCKET/PREFIX`, `gs://...` or
    `az://...`; empty: `artifacts` in HOME. See [object stores](../how-to/deploy.md#object-store)."""
    artifacts_credentials_file: Path | None = None
    """File with lines NAME=VALUE, such as `AWS_SECRET_ACCESS_KEY=...`, for an object store; else the environment's."""
    cache_bytes: Annotated[int, Field(ge=0)] = 10 * 1024**3
    """Maximum bytes of a machine's cache of an object store, in `cache` in HOME; files in use may exceed it."""
    transfers: Annotated[str, Field(pattern=r"^(proxy|presigned)$")] = "proxy"
    """Downloads of stored files, and uploads in parts: through the API (`proxy`), or from and to the object store by
    `presigned` URLs, for clients that can reach it. Folders always use the API."""
    group_access: bool = False
    """`true`: files and folders are group-writable, for an API and workers of different users."""
    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback address requires an API key."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 picks a free one."""
    hosts: str = ""
    """Allowed `Host` names besides `localhost` and HOST, separated by commas."""
    origins: str = ""
    """Origins allowed to send cross-site requests (CORS), such as `https://team.example`, separated by commas."""
    api_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """An admin key of tenant `default`, 16 characters or more off loopback; `bestepoch keys create` makes others."""
    api_key_file: Path | None = None
    """File with that key instead, such as a container's secret."""
    trainers: Annotated[int, Field(ge=0, le=256)] = 0
    """Trainer processes of a worker; 0: one per GPU where there are GPUs, else one per core that it may use."""
    trainer_threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Maximum number of threads that train a large network; 0: one per core. Results do not depend on it. Busy trainers
    share the cores, and small networks take one thread."""
    array_width: Annotated[int, Field(ge=0, le=4_096)] = 0
    """Maximum number of similar jobs trained as one array; 0: 16 on a CPU, 256 on a GPU."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda)$")] = "auto"
    """Device of the trainers: `auto`, `cpu` or `cuda`."""
    worker_labels: str = ""
    """Labels of a worker, as `gpu=h100,spot=true`: jobs may ask for workers that have them. At most 8."""
    preemptible: bool = False
    """`true`: the machine of a worker may be taken away at short notice, as a spot instance is."""
    exit_when_idle: Annotated[float, Field(ge=0.0, le=604_800.0)] = 0.0
    """A worker exits when it has trained nothing for this many seconds; 0: never."""
    max_worker_jobs: Annotated[int, Field(ge=0)] = 0
    """A worker exits when it has claimed so many jobs and they have left it; 0: no limit."""
    drain_seconds: Annotated[float, Field(ge=1.0, le=86_400.0)] = 20.0
    """Seconds from a worker's SIGTERM until its jobs must be saved: within an epoch that takes longer than half."""
    lease_seconds: Annotated[float, Field(ge=1.0, le=3_600.0)] = 15.0
    """Duration of a lease: a worker without a heartbeat for this long loses its jobs to others."""
    save_seconds: Annotated[float, Field(ge=0.0, le=86_400.0)] = 10.0
    """Seconds between saved training states: the work repeated after a crash; longer where saving is slow."""
    keep: Annotated[str, Field(pattern=r"^(none|(last|state|predictions)(,(last|state|predictions))*)$")] = (
        "last,state,predictions"
    )
    """What ended jobs keep besides the best checkpoint: `last`, the `state` that forks continue from, and the
    `predictions` of validation and test rows; or `none`."""
    sample_rows: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Rows that each version of a model keeps of those it was asked to predict in JSON, for `GET .../drift`: chosen at
    random, the latest most likely; 0: none. The rows are stored as they were sent."""
    stall_seconds: Annotated[float, Field(ge=1.0, le=86_400.0)] = 600.0
    """Watchdog: a trainer without a step for this long is killed, and its job retried."""
    gang_seconds: Annotated[float, Field(ge=1.0, le=3_600.0)] = 60.0
    """Seconds within which the trainers that workers reserve for a job on several devices must be free: half of it they
    wait for the jobs under way, then they requeue those at the end of an epoch."""
    rank_address: IPvAnyAddress | None = None
    """IP address at which other machines reach this one, for jobs on several devices; empty: the one from which it
    reaches the database. Needed where the database's host is `localhost` on some of them."""
    statement_seconds: Annotated[float, Field(ge=1.0, le=3_600.0)] = 30.0
    """Statement timeout in Postgres, in seconds; the request of a cancelled statement gets a 503."""
    log_level: Annotated[str, Field(pattern=r"^(debug|info|warning|error)$")] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: Annotated[str, Field(pattern=r"^(console|json)$")] = "console"
    """`console`: text; `json`: one JSON object per line."""
    max_log_bytes: Annotated[int, Field(ge=1024**2)] = 256 * 1024**2
    """Maximum bytes of all logs of training attempts on a machine; the oldest are deleted."""
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Days until an ended job is deleted, with its history and checkpoints; 0: never. Published models keep theirs."""
    grace_hours: Annotated[float, Field(ge=0.0, le=8_760.0)] = 24.0
    """Hours before garbage collection of files of deleted jobs and data sets, and of replaced checkpoints."""
    trash_days: Annotated[float, Field(ge=0.0, le=3_650.0)] = 7.0
    """Days that unreferenced files stay in the artifacts folder's `trash`."""
    max_superseded_bytes: Annotated[int, Field(ge=0)] = 4 * 1024**3
    """Bytes of replaced checkpoints that a trainer keeps for these hours; beyond it, the oldest are deleted at once."""
    max_upload_bytes: Annotated[int, Field(ge=1)] = 2 * 1024**3
    """Maximum bytes of an upload, compressed and uncompressed; larger ones get 413."""
    upload_part_bytes: Annotated[int, Field(ge=64 * 1024)] = 16 * 1024**2
    """Clients upload larger files in parts of this size, which they can resume; a file has at most 1,000 parts."""
    max_dataset_bytes: Annotated[int, Field(ge=1)] = 100 * 1024**3
    """Maximum bytes of all data sets of a tenant; an upload beyond gets 413."""
    max_profile_bytes: Annotated[int, Field(ge=1)] = 16 * 1024**2
    """Maximum bytes of the values listed in a data set's profile; rarer ones are left out, with a warning."""
    max_tenant_bytes: Annotated[int, Field(ge=0)] = 1024**4
    """Storage quota of a tenant in bytes: data sets, checkpoints, histories, uploads; beyond it 413; 0: no limit."""
    max_ingest_bytes: Annotated[int, Field(ge=64 * 1024**2)] = 1024**3
    """Memory limit in bytes of a process that reads an upload."""
    max_ingest_seconds: Annotated[float, Field(ge=1.0, le=86_400.0)] = 600.0
    """Time limit in seconds of a process that reads an upload, or writes a file or a report for a client."""
    max_query_rows: Annotated[int, Field(ge=1)] = 10_000_000
    """Maximum rows of a query that a data set is read from; more get 413."""
    max_fetch_seconds: Annotated[float, Field(ge=1.0, le=3_600.0)] = 300.0
    """Maximum seconds of reading files or a query from a connection."""
    max_model_bytes: Annotated[int, Field(ge=0)] = 1024**3
    """Memory in bytes of the cache of models for predictions (least recently used evicted first), of all helpers. The
    members of a published version must fit into the share of one helper."""
    max_queued_jobs: Annotated[int, Field(ge=1)] = 100_000
    """Maximum queued and paused jobs of a tenant; one more gets 429."""
    max_running_jobs: Annotated[int, Field(ge=0)] = 0
    """Maximum running jobs of a tenant; 0: no limit."""
    max_sweep_jobs: Annotated[int, Field(ge=1)] = 10_000
    """Maximum jobs of a sweep."""
    max_parameters: Annotated[int, Field(ge=1)] = 100_000_000
    """Maximum trainable parameters of a network."""
    max_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000_000
    """Maximum epochs of a job."""
    max_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    """Maximum seconds of training of a job, and the default of `max_seconds`; 0: no limit."""
    max_job_bytes: Annotated[int, Field(ge=0)] = 0
    """Maximum estimated memory in bytes of training a job; 0: the memory of this machine."""
    max_streams: Annotated[int, Field(ge=1)] = 2_000
    """Maximum concurrent streams and waits (`?wait=`) of a tenant; one more gets 429. API processes tell each other
    every second."""
    max_connections: Annotated[int, Field(ge=0)] = 0
    """Maximum concurrent connections, per API process; 0: as many as the limit of open files allows."""
    max_failed_keys_per_minute: Annotated[int, Field(ge=0)] = 60
    """Rate limit of unknown API keys per address and minute, per API process; further ones get 429; 0: no limit."""
    max_requests_per_second: Annotated[float, Field(ge=0.0)] = 0.0
    """Rate limit of a tenant in requests per second; more get 429; 0: no limit. API processes tell each other every
    second."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Read secrets from their files, once."""
        given = dict(given)
        if path := given.get("api_key_file"):
            if given.get("api_key"):
                raise ValueError("BESTEPOCH_API_KEY and BESTEPOCH_API_KEY_FILE are both set: give one of them")
            given["api_key"] = secret_in(path, "BESTEPOCH_API_KEY_FILE")
        if path := given.get("database_password_file"):
            password = secret_in(path, "BESTEPOCH_DATABASE_PASSWORD_FILE")
            given["database_url"] = with_password(given.get("database_url", ""), password)
        return given

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("artifacts_url")
    @classmethod
    def _local(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("", "file", *OBJECT_STORES):
            raise ValueError("give a folder, or the URL of a bucket: s3://BUCKET/PREFIX, gs://... or az://...")
        return url

    @property
    def is_loopback(self) -> bool:
        """Whether the server is reachable from this machine only."""
        return _is_loopback(self.host)

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Allowed values of the `Host` header; empty: any, if HOSTS is empty off loopback, where a key is required."""
        if not (self.hosts or self.is_loopback):
            return frozenset()
        return frozenset({"localhost", "127.0.0.1", "::1", self.host.lower(), *_listed(self.hosts.lower())})

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The allowed origins."""
        return frozenset(_listed(self.origins))

    @property
    def database(self) -> str:
        """The database's URL, resolved."""
        return self.database_url or f"sqlite:///{self.home / 'bestepoch.db'}"

    @property
    def uses_object_store(self) -> bool:
        """Whether artifacts are in a bucket instead of a folder."""
        return urlsplit(self.artifacts_url).scheme in OBJECT_STORES

    @property
    def artifacts(self) -> Path:
        """The local folder of artifacts, resolved: the store itself, or the cache of an object store."""
        if self.uses_object_store:
            return self.home / "cache"
        return Path(self.artifacts_url.removeprefix("file://") or self.home / "artifacts").expanduser().absolute()

    @property
    def logs(self) -> Path:
        """Folder of the trainers' logs."""
        return self.home / "logs"


def read_secret(reference: str) -> str:
    """The secret that `env:VARIABLE` or `file:/path` refers to; raises ValueError."""
    scheme, _, place = reference.partition(":")
    if scheme == "file":
        return secret_in(place, "the secret's reference")
    if scheme != "env" or not place:
        raise ValueError(f"{reference!r} is no reference: write env:VARIABLE or file:/path")
    if not os.environ.get(place):
        raise ValueError(f"the environment variable {place} is not set")
    return os.environ[place]


FILE_READER_ENVIRONMENT = (
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
)
"""Environment variables passed to a process that reads clients' files; any other may be secret."""


def file_reader_environment() -> dict[str, str]:
    """The environment of a process that reads clients' files."""
    return {name: os.environ[name] for name in FILE_READER_ENVIRONMENT if name in os.environ}


def remove_cwd_from_module_path() -> None:
    """Remove the current folder, which `python -m` and `-c` search first for modules, here and in child processes."""
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
    """Memory of this machine, or the limit of this process's control group."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _memory_limits():
        with suppress(OSError, ValueError):  # no control group, or one without a limit
            found.append(int(file.read_text()))
    return min(found)


def _memory_limits() -> Iterator[Path]:
    """The files that may have the limit: of the control group that a container sees as the root, and of its own one."""
    groups = [("", "/"), ("memory", "/")]
    with suppress(OSError):
        listed = Path("/proc/self/cgroup").read_text().splitlines()  # such as 4:memory:/user.slice
        groups += [(own[0], own[2]) for line in listed if (own := line.partition(":")[2].partition(":"))]
    for controllers, path in groups:
        if not controllers:
            yield Path(f"/sys/fs/cgroup{path}/memory.max")
        elif "memory" in controllers.split(","):
            yield Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")


def free_port(host: str) -> int:
    """A free port of `host`."""
    family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.create_server(address[:2], family=family) as probe:
        return int(probe.getsockname()[1])

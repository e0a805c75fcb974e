"""A reader under the control of a malicious file: what it could access."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.data.processes.runner import Allowance, respond


class Asked(BaseModel):
    """Where to look; only the first three are of the request."""

    given: Path
    target: Path
    port: int
    elsewhere: str  # as text: paths are what it may use


class Seen(BaseModel):
    environment: dict[str, str]
    folder: str
    handles: int
    core_bytes: int
    privileges: str
    done: list[str]


def attempts(asked: Asked) -> dict[str, Callable[[], object]]:
    secret = Path(asked.elsewhere)
    return {
        "read what it was given": asked.given.read_bytes,
        "write where it was told to": lambda: asked.target.write_bytes(b"x"),
        "read another file": secret.read_bytes,
        "list another folder": lambda: list(secret.parent.iterdir()),
        "look where services are put": lambda: list(Path("/opt").iterdir()),
        "change another file": lambda: secret.write_bytes(b"x"),
        "change what it was given": lambda: asked.given.write_bytes(b"x"),
        "make a file elsewhere": lambda: (secret.parent / "new").write_bytes(b"x"),
        "delete another file": lambda: (secret.parent / "old").unlink(),
        "read the environment of whoever started it": Path(f"/proc/{os.getppid()}/environ").read_bytes,
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "connect": lambda: closing(socket.create_connection(("127.0.0.1", asked.port), timeout=5)),
        "listen": lambda: closing(socket.create_server(("127.0.0.1", 0))),
        "signal whoever started it": lambda: os.kill(os.getppid(), signal.SIGCONT),
    }


def look(asked: dict[str, Any], _: Allowance) -> Seen:
    done = []
    for name, attempt in attempts(Asked.model_validate(asked)).items():
        try:
            attempt()
            done.append(name)
        except OSError:
            pass
    status = Path("/proc/self/status").read_text()
    return Seen(
        environment=dict(os.environ),
        folder=str(Path.cwd()),
        handles=len(list(Path("/proc/self/fd").iterdir())),
        core_bytes=resource.getrlimit(resource.RLIMIT_CORE)[1],
        privileges=status.split("NoNewPrivs:")[1].split()[0],
        done=done,
    )


if __name__ == "__main__":
    respond(look)

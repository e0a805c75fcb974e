"""An API process that only takes a slot for exports, and writes a file when it has it: see test_api_processes."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from service.api.processes.parent_link import ParentLink, ProcessPlace, SharedSlots


async def main(folder: str, place: str) -> None:
    _, link, number, processes = map(int, place.split(","))
    parent = ParentLink(socket.socket(fileno=link), ProcessPlace(number, processes))
    over = asyncio.Event()
    parent.on_end = over.set
    await parent.start(list)
    async with SharedSlots(parent, "export").slot(f"tenant {number}"):
        Path(folder, f"{os.getpid()}").touch()
        await over.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[-1]))

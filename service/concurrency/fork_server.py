"""Servers that fork processes of a program; each has imported what its processes need, so that they start at once.

Python would clear every module at the server's end, which takes seconds of processor time after the program is gone.
The garbage collector leaves the modules alone: each scan of them would take a process time, and a copy of their memory.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext


def forked_from(server: str) -> ForkServerContext:
    """Starts processes that are forked from a server which imports the module `server` first.

    A program has one server; it starts with its first process and ends with the program.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([server])
    return context


def import_for_forks(*modules: str) -> None:
    """What the module of a server does: import `modules`, and end without freeing their memory."""
    gc.disable()
    for module in modules:
        import_module(module)
    gc.freeze()
    gc.enable()
    atexit.register(os._exit, 0)
    os.register_at_fork(after_in_child=partial(atexit.unregister, os._exit))  # a process has an exit code of its own

"""What the server that forks trainers imports: their modules, torch among them, and an exit that frees no memory.

Python would clear every module at the server's end, which takes it seconds of processor time after the worker is gone.
The garbage collector leaves the modules alone: each scan of them would take a trainer time, and a copy of their memory.
"""

from __future__ import annotations

import atexit
import gc
import os
from functools import partial
from importlib import import_module

gc.disable()
import_module("service.worker.trainer")
gc.freeze()
gc.enable()

atexit.register(os._exit, 0)
os.register_at_fork(after_in_child=partial(atexit.unregister, os._exit))  # a trainer has an exit code of its own

"""What the server that forks trainers imports: torch, above all."""

from service.concurrency.fork_server import import_for_forks

import_for_forks("service.worker.trainer")

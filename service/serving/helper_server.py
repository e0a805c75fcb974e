"""What the server that forks prediction helpers, exports and reports imports: torch and scikit-learn, above all."""

from service.concurrency.fork_server import import_for_forks

import_for_forks("service.serving.helper", "service.serving.reports.process")

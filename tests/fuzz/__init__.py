"""Made-up requests, files and specs, many of each: nothing crashes, hangs or answers with a 500.

`FUZZ_EXAMPLES` (200) is how many for each operation; files and specs get as many together.
"""

from __future__ import annotations

import os
from typing import Any

import hypothesis

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))


def many() -> Any:
    """A hypothesis test with so many examples."""
    return hypothesis.settings(max_examples=EXAMPLES, suppress_health_check=list(hypothesis.HealthCheck))

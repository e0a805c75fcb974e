"""Constants of the training engine that the spec needs too: padding, memory factors, and sizes of arrays.

`spec` estimates at submission what `training` will use, without importing torch.
"""

from __future__ import annotations

PAD = 32
"""The engine pads the width of flat layers to a multiple of this many floats (see training/weights.py)."""
ALIGNMENT = 64
"""Bytes to which torch aligns the memory of its tensors."""


def padded(width: int) -> int:
    """The next multiple of PAD."""
    return -(-width // PAD) * PAD


ARRAY_WIDTHS = {"cpu": 16, "cuda": 256}
"""Maximum number of jobs in an array by device, unless a setting says otherwise."""

# Peak memory of a trainer process on a CPU, in bytes, measured by benchmarks/memory.py:
PROCESS_BYTES = 230 * 2**20
"""The process itself."""
PARAMETER_BYTES = 64
"""Per parameter: weight, gradient, optimizer moments, best weights, and copies while a state is saved."""
AVERAGE_BYTES = 12
"""Per parameter, where weights are averaged: the average, and copies while a state is saved."""
STEP_BYTES = 7
"""Per activation value of a training step."""
CELL_BYTES = 16
"""Per cell of the table: read, prepared and shuffled."""

# Training on rows that are streamed from disk (see service/spec/streaming.py):
BLOCK_ROWS = 256
"""Consecutive rows that are read together; blocks are shuffled first, then the rows within a window of blocks."""
WINDOW_BYTES = 128 * 2**20
"""Prepared rows of a window, unless the spec says how many rows."""
STREAM_BYTES = 384 * 2**20
"""To prepare the table: a chunk of its rows, encoded, and summaries of some columns."""
STREAM_ROW_BYTES = 64
"""Per row of the table: the split, while it is drawn, and the target."""

# Size of checkpoint files, in bytes:
VALUE_BYTES = 4
"""Per stored value."""
FILE_BYTES = 4_096
"""Per file, for metadata: names, preprocessing, metrics."""
INPUT_BYTES = 100
"""Per input, for its preprocessing."""
TEXT_BYTES = 32
"""Per text that has numbers by its frequency or mean target, and per such number."""

# Sizes of all members of an array together:
MAX_ARRAY_PARAMETERS = 2**21
"""Beyond it, arithmetic outweighs what training together saves."""
MAX_ARRAY_VALUES = 2**26
"""Activation values of a step: 256 MiB, several of which are held at a time."""
MAX_ARRAY_ROW_BYTES = 2**30
"""Row sets of the members, such as folds and other splits of a table: their prepared rows, with padded inputs."""
MAX_STEP_VALUES = 2**31
"""Activation values of a step of one job."""

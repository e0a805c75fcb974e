"""Everything but uploads in one run and one table: `python -m benchmarks`, some ten minutes on two cores."""

from __future__ import annotations

import statistics

from benchmarks import bagging, engine, folds, graph, latency, recording, sweep


def main() -> None:
    seconds = engine.measure(9)
    sweeps = sweep.measure(3)
    each = {size: total / size / sweep.EPOCHS for size, total in sweeps.items()}
    seconds |= {f"bestepoch over HTTP, sweep of {size}": own for size, own in each.items()}
    engine.print_table(seconds)
    small, large = each.values()
    print(
        f"sweep of 64 against 64 DataLoader loops, one after another: {seconds[engine.LOADER] / small:.1f} times faster"
    )
    print(f"a job of a sweep of 256 against one of a sweep of 64: {large / small:.2f}")
    script, service = latency.measure(10)
    print(f"reference job: script {script * 1000:.0f} ms, service {service * 1000:.0f} ms: 1 / {script / service:.1f}")
    graph.print_table(graph.measure(7))
    folds.print_seconds("10,000 rows, engine, ms a job and epoch", folds.measure(10_000, 7), 1_000)
    bagging.print_seconds(bagging.measure(3))
    ratios = recording.measure(4)
    print(f"history and checkpoints: {statistics.median(ratios) - 1:.1%} of an array of {recording.WIDTH}'s training")


if __name__ == "__main__":
    main()

"""Statistics of predictions: metrics with intervals, curves, calibration, slices. NumPy alone, no files, no torch."""

"""Speed, measured side by side in one run; the figures live in RESULTS.md."""

"""Statistics over seeds and patches; knows nothing of sweeps. What they do is told in docs/comparison.md."""

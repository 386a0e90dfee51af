"""Statistics over seeds and patches; knows nothing of sweeps."""

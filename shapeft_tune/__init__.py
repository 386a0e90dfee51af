"""Fair hyperparameter sweeps for fine-tuning geospatial foundation models."""

__version__ = "0.1.0"

"""Fair hyperparameter sweeps for fine-tuning geospatial foundation models."""

import logging

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # commands print; libraries do not

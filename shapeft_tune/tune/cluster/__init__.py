"""Ray's cluster: slots, shares of GPUs, and noticing that it is gone."""

"""The sweep engine: ledger, order of work, Ray. Knows nothing of how a model is built.

Nothing is imported here: `status` needs the ledger and neither torch nor Ray.
"""

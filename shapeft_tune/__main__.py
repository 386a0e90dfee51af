"""``python -m shapeft_tune``."""

from shapeft_tune.cli import main

main()

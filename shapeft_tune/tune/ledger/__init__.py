"""What was tried, what came of it, what is next: Optuna's studies, and who may write them."""

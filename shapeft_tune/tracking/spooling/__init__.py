"""Facts on their way to MLflow: in a file first, then to any store that has not heard them."""

"""What a report adds to the record, so that MLflow's own pages show results and not only trials."""

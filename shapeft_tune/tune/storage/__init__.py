"""What lies on disk, or in S3, for the trials of a sweep."""

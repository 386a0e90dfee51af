"""What a person sees of a sweep while it runs, and from outside."""

"""Measurements of speed, and the record of what they showed."""

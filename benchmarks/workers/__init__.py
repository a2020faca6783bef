"""Processes that the measurements run."""

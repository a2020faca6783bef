"""Measurements of a running system, with every stage on, under agents made for the time of the run."""

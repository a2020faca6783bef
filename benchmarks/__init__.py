"""Measures `mas` against what people use without it, in one run on one machine: `make bench`.

Absolute figures change from machine to machine and from run to run. What counts are ratios of figures that
were taken in turn: product, baseline, product, baseline.
"""

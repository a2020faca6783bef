"""The fault harness: real processes under load, a fault at random moments, ledgers outside, and one table.

`python -m tests.faults --list` shows what there is. A row is a module in `rows` with a list `ROWS` of
`Row`; it builds a `World`, injects its fault, and gives back the `Outcome` that `World.finish` drew up.
"""

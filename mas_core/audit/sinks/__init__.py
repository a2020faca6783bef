"""Files beside the audit: copies of its records as JSON Lines, and a folder for each day.

Off by default. They are no evidence by themselves; the evidence folder with its checkpoints is.
"""

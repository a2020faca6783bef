"""The report for auditors: what the records of a period say, control by control of a standard.

It says which records support a control and what they do not cover; it never says that anybody complies.
"""

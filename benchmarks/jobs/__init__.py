"""What users do: each job is a script of its own, as a user would write it.

`benchmarks/works/jobs.py` runs and measures them.
"""

"""Studies: a grid of runs, trained where they are missing, and what their scores say of each other.

Data flow one way: `config` (what is asked) -> `grid` (the runs that it means) -> `runner` (training what is missing)
-> `results` (their scores) -> `summary` (means and differences) -> `tables`, `page`.
"""

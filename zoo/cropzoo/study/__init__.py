"""Studies: a grid of runs, trained where they are missing, and what their scores say of each other.

Data flow one way: `design` (what is asked) -> `grid` (the runs that it means) -> `running` (training what is missing)
-> `collecting` (their scores) -> `summary` (means and differences) -> `tables`, `plots`, `page`.
"""

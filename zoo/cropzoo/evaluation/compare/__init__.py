"""Studies: train a grid of runs and compare their scores.

Data flow in one direction: `config` (the study file) -> `grid` (its runs) -> `runner` (training the missing ones) ->
`results` (their scores) -> `summary` (means and differences) -> `tables`, `page`.
"""

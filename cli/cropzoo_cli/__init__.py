"""The command line of cropzoo."""

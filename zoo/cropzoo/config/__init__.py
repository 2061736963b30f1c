"""What defines a run: recipes, the catalog of named recipes, and run folders."""

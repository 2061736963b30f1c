"""Networks by name: contracts, factories, checkpoints, published weights, and transfer between datasets."""

"""Which models there are, and where the weights of a name come from."""

"""API keys at rest: what a key is, the file of their hashes, the command that makes them."""

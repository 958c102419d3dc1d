"""The protocols that are spoken, a folder each."""

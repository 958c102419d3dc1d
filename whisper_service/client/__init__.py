"""The command-line client: files and live audio to a running service, text back."""

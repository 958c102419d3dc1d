"""What every upload goes through, whatever the protocol."""

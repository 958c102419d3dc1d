"""What every live stream goes through, whatever the protocol."""

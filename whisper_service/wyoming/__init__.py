"""A bridge for Home Assistant and others that speak Wyoming: their audio to a running service."""

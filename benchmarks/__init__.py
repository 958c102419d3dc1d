"""Measurements of the service, and what they need."""

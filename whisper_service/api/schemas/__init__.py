"""Requests and answers as pydantic models: what is checked is what /docs shows."""

"""OpenAI's audio API, spoken over the same plans as the service's own routes."""

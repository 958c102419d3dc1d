"""The only importer of Ray: deployments, handles between them, metrics."""

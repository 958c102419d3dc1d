"""Files whose text is fetched later: POST /jobs, the work on them, and the webhooks that tell."""

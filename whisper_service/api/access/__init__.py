"""Who may do what: keys, tokens, pages of other origins, quotas."""

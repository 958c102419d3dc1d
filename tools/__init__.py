"""Tools of the repository: nothing of the service imports them."""

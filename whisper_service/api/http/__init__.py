"""What every request goes through: headers, limits, spans, errors."""

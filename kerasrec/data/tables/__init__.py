"""Tables of interactions: reading, validation, cleaning and audit."""

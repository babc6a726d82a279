"""Tables of examples: columns and a label, without users and items."""

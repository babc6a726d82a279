"""Models of clicks and of other labels of tables of features, with or without ids."""

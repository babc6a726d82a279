"""Files of an exported version, and the folder of versions."""

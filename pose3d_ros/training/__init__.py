"""Training loops; one YAML configuration per published row."""

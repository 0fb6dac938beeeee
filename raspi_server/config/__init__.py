"""Configuration: config.yaml as frozen, typed values."""

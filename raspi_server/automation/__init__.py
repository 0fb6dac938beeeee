"""Automation: outputs that switch by themselves, at times and at events that config.yaml names."""

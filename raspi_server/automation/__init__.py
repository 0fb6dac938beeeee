"""Automation: outputs that switch by themselves, at times that config.yaml names."""

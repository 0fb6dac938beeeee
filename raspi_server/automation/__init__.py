"""Automation: outputs that follow rules."""

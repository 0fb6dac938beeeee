"""The command `raspi-server`."""

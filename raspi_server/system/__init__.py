"""Services of the operating system: systemd, log, clocks, timers, files."""

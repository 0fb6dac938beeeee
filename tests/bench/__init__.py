"""What one delivered message costs the server, and what it costs others: `scripts/bench.sh`."""

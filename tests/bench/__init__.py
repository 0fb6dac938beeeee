"""Benchmark of raspi-server beside other servers: `scripts/bench.sh`."""

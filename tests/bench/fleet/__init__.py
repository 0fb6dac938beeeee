"""A broker and a thousand Pis on one machine: `scripts/bench.sh fleet`."""

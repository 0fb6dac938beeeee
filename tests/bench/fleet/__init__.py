"""A broker and a thousand Pis on one machine: `python -m tests.bench.fleet`."""

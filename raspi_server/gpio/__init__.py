"""GPIO: the board with its pins, and the backends for real and simulated lines."""

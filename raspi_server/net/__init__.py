"""Network: listening sockets, connection limits, and frames to many WebSockets."""

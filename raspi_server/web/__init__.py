"""HTTP and WebSockets: routes, request handlers, static files, metrics."""

"""Security: access rights, codes, sessions, sign-in links, and TLS."""

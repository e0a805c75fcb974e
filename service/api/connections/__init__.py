"""The server's sockets: how many, and how slow a client may be."""

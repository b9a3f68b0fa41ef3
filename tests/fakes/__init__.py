"""Stand-ins for what surrounds the client, over real sockets; none is kinder than the real thing."""

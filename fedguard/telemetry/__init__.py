"""What leaves the server for those who watch it: metrics, events, logs, traces."""

"""What operators monitor: heartbeats and liveness files, metrics, traces, error reports."""

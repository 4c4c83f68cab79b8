"""What every other package may use: phone numbers, logs, metrics, HTTP, text. Imports nothing else of ours."""

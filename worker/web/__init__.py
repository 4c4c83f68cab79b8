"""The HTTP side: send jobs, the Relay, carriers."""

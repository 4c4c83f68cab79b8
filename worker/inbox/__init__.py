"""What comes in from outside: the Relay's and the carriers' events, stored before they are answered."""

"""Whether a text may be sent, and when. Pure: reads no database."""

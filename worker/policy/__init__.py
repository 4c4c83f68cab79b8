"""The rules that decide if and when a text may be sent. Pure: nothing here reads the database."""

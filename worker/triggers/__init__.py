"""Which texts a CRM change calls for. Pure: reads no database."""

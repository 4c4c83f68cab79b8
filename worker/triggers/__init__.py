"""Decides which texts a CRM change calls for, and writes them. Pure: reads no database."""

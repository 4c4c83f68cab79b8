"""Contacts and deals of HubSpot."""

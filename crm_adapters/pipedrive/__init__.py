"""Persons and deals of Pipedrive."""

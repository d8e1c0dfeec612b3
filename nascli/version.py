"""The version, for whoever needs it without the API."""

__version__ = "0.1.0"

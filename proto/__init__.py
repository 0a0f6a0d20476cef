"""Wire contracts of Sotto, one folder per version of the API."""

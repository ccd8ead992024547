"""Models of other programs, one file a format. Nothing here is imported before it is used."""

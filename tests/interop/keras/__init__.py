"""Keras: layers and files."""

"""The Python package around the numbers: configuration, parameters, files, training, memory."""

"""Files and modules of other projects; a folder for each format with several test files."""

"""The C library without Python: built, linked, installed; its programs, reader and fuzzer."""

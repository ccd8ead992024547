"""Shared by the tests of several folders: the specification, cases, bounds."""

"""Mutation tests: small faults are put into a copy of the sources, and the tests must find them.

`python -m tests.mutation run core 10` tries ten, `python -m tests.mutation report` lists those that
no test found. docs/testing.md says what is left out and why.
"""

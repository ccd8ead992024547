"""Measurements of clstm beside its peers and beside the limit of the machine.

`test_*.py` are the measurements, run by pytest. They use three packages, each of which imports only
those after it:

- report: tables and plots, made of the figures of one or several runs
- engines: clstm and its peers behind one interface, and the processes that they run in
- measure: shapes, timing, memory, CPUs, and the limit of the machine
"""

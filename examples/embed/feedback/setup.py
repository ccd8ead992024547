"""Compiles against the header of clstm; there is nothing to link."""

from setuptools import Extension, setup

import clstm

setup(ext_modules=[Extension("feedback", ["feedback.pyx"], include_dirs=[clstm.get_include()])])

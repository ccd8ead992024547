"""Needs clstm's header to compile, and nothing of it to link."""

import clstm
from setuptools import Extension, setup

setup(ext_modules=[Extension("feedback", ["feedback.pyx"], include_dirs=[clstm.get_include()])])

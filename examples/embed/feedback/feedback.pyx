# cython: language_level=3, boundscheck=False, wraparound=False
"""Feedback: every output of a model is its next input, step by step without the GIL."""

cimport clstm
from libc.stdlib cimport free, malloc

import numpy as np


def generate(lstm, float[:, ::1] start, Py_ssize_t steps):
    """Run a model on the given steps, then continue with its own outputs as inputs.

    Parameters
    ----------
    lstm : clstm.LSTM
        Model of dtype float32, with equal numbers of input and output features. It must not be
        edited during the call.
    start : ndarray, float32, shape (T, I)
        The given steps, at least one.
    steps : int
        Number of steps to generate, at least 1.

    Returns
    -------
    ndarray, float32, shape (steps, I)
        The generated steps: the outputs from the last given step on.

    Raises
    ------
    ValueError
        If an argument does not fit.
    MemoryError
        If there is no memory for the stream.
    """
    cdef const clstm.clstm_model *model = clstm.model_of(lstm)
    cdef size_t size, features = lstm.input_size
    cdef Py_ssize_t t
    cdef size_t outputs = lstm.output_size or lstm.proj_size or lstm.hidden_size
    if lstm.dtype != np.float32 or outputs != features:
        raise ValueError("lstm must have dtype float32 and equal numbers of input and output features")
    if start.shape[0] < 1 or start.shape[1] != features or steps < 1:
        raise ValueError(f"start must have at least one step of {features} features, and steps must be at least 1")
    cdef float[:, ::1] y = np.empty((steps, features), np.float32)
    cdef clstm.clstm_stream *stream = NULL
    cdef clstm.clstm_status status = clstm.stream_size(model, 1, &size)
    cdef void *memory = malloc(size)
    if memory == NULL:
        raise MemoryError()
    if status == clstm.CLSTM_OK:
        status = clstm.stream_init(model, 1, 0, memory, size, &stream)
    if status == clstm.CLSTM_OK:
        with nogil:
            for t in range(start.shape[0]):
                clstm.stream_step(stream, &start[t, 0], &y[0, 0])
            for t in range(1, steps):
                clstm.stream_step(stream, &y[t - 1, 0], &y[t, 0])
    clstm.stream_release(stream)
    free(memory)
    if status != clstm.CLSTM_OK:
        raise ValueError(clstm.strerror(status).decode())
    return np.asarray(y)

# cython: language_level=3, freethreading_compatible=True
"""The only access to scipy's BLAS. It imports scipy.linalg, so _core imports it late."""

from cpython.pycapsule cimport PyCapsule_New
from scipy.linalg cimport cython_blas

from .clstm_c cimport clstm_gemm, clstm_gemm_f64

include "blas_int.pxi"  # written by setup.py: scipy's type if it exports one, else int


cdef inline char transposition(int transpose) noexcept nogil:
    return b"T" if transpose else b"N"


# BLAS sees a row-major matrix as its transpose, and C = A B as C^T = B^T A^T: the operands swap.
# The core limits the sizes of a product to 31 bits.

cdef void sgemm(const clstm_gemm *p) noexcept nogil:
    cdef:
        char transpose_a = transposition(p.transpose_a), transpose_b = transposition(p.transpose_b)
        blas_int m = <blas_int>p.m, n = <blas_int>p.n, k = <blas_int>p.k
        blas_int lda = <blas_int>p.lda, ldb = <blas_int>p.ldb, ldc = <blas_int>p.ldc
        float one = 1, beta = p.accumulate
    cython_blas.sgemm(&transpose_b, &transpose_a, &n, &m, &k, &one, <float *>p.b, &ldb, <float *>p.a, &lda,
                      &beta, p.c, &ldc)


cdef void dgemm(const clstm_gemm_f64 *p) noexcept nogil:
    cdef:
        char transpose_a = transposition(p.transpose_a), transpose_b = transposition(p.transpose_b)
        blas_int m = <blas_int>p.m, n = <blas_int>p.n, k = <blas_int>p.k
        blas_int lda = <blas_int>p.lda, ldb = <blas_int>p.ldb, ldc = <blas_int>p.ldc
        double one = 1, beta = p.accumulate
    cython_blas.dgemm(&transpose_b, &transpose_a, &n, &m, &k, &one, <double *>p.b, &ldb, <double *>p.a, &lda,
                      &beta, p.c, &ldc)


SGEMM = PyCapsule_New(<void *>sgemm, b"clstm.sgemm", NULL)
DGEMM = PyCapsule_New(<void *>dgemm, b"clstm.dgemm", NULL)

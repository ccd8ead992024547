# The hold on another library's threads, included by _core.pyx, whose names it uses.

cdef enum:
    MOST_LIBRARIES = 8

cdef struct BlasLibrary:
    int (*get)() noexcept nogil
    void (*set)(Py_ssize_t threads) noexcept nogil  # an int for most of them, which gets the lower half
    int before


@cython.final
cdef class BlasHold:
    """A context manager for any number of threads: the first sets BLAS libraries to one thread, the last restores.

    Between entering and counting, and likewise at the exit, no Python code runs: no signal handler can raise there.

    Parameters
    ----------
    addresses : list of (int, int)
        Of each library's C functions that return and set its number of threads.
    """

    cdef clstm_i_mutex mutex  # guards the following
    cdef size_t inside
    cdef BlasLibrary libraries[MOST_LIBRARIES]
    cdef size_t count

    def __cinit__(self, addresses):
        cdef size_t getter, setter
        for getter, setter in addresses[:MOST_LIBRARIES]:
            self.libraries[self.count].get = <int (*)() noexcept nogil>getter
            self.libraries[self.count].set = <void (*)(Py_ssize_t) noexcept nogil>setter
            self.count += 1

    cdef void restore(self) noexcept:
        cdef size_t k
        for k in range(self.count):
            if self.libraries[k].get() != self.libraries[k].before:
                self.libraries[k].set(self.libraries[k].before)

    def __enter__(self):
        cdef size_t k
        clstm_i_lock(&self.mutex)
        if self.inside == 0:
            for k in range(self.count):
                self.libraries[k].before = self.libraries[k].get()
                if self.libraries[k].before != 1:
                    self.libraries[k].set(1)
        self.inside += 1
        clstm_i_unlock(&self.mutex)

    def __exit__(self, kind, value, traceback):
        clstm_i_lock(&self.mutex)
        if self.inside:  # else after_fork has ended all holds
            self.inside -= 1
            if self.inside == 0:
                self.restore()
        clstm_i_unlock(&self.mutex)

    def after_fork(self):
        """End all holds in a child process, which does not have the threads inside."""
        clstm_i_lock(&self.mutex)
        if self.inside:
            self.inside = 0
            self.restore()
        clstm_i_unlock(&self.mutex)

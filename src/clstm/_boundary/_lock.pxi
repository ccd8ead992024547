# A lock for the package's Python code, included by _core.pyx, whose names it uses.


@cython.final
cdef class Lock:
    """A lock that a forked child finds free, if a thread of the parent had it. `Turn` takes it."""

    cdef clstm_i_mutex mutex


@cython.final
@cython.no_gc_clear  # __dealloc__ needs the lock
cdef class Turn:
    """A context manager, made for a single `with`, that has a lock in its block.

    As with `Edit`, no signal handler can raise between taking or giving back the lock and its end.
    """

    cdef Lock lock
    cdef bint inside

    def __cinit__(self, Lock lock not None):
        self.lock = lock

    def __dealloc__(self):
        self.end()

    cdef void end(self) noexcept:
        if self.inside:
            self.inside = False
            clstm_i_unlock(&self.lock.mutex)

    def __enter__(self):
        while not clstm_i_try_lock(&self.lock.mutex):
            sleep(1e-5)  # a signal handler may raise here
        self.inside = True

    def __exit__(self, kind, value, traceback):
        self.end()

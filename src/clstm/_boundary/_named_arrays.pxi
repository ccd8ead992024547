# A user's own arrays by name, and how optimisers and clipping change them, included by _core.pyx, whose names it uses.

# An array of a dict, with its gradient and averages. It is valid as long as the lists that it was read from live: numpy
# resizes no array that others refer to.
cdef struct Named:
    void *parameters
    void *gradients
    void *first
    void *second
    size_t n
    double lr, weight_decay
    bint is_f64


cdef Named *allocate_named(size_t count) except NULL:
    cdef Named *arrays = <Named *>PyMem_Malloc(max(count, 1) * sizeof(Named))
    if arrays == NULL:
        raise MemoryError("no memory for the list of arrays")
    return arrays


# ---- Checks ----

cdef str place_of(str kind, str name):
    return f"{kind}[{name!r:.80}]"


cdef int check_named(str kind, str name, cnp.ndarray array, cnp.ndarray own, bint written) except -1:
    """Raise unless the core can use an array in place; `own` are the parameters that it must be like, or None."""
    cdef int typenum = cnp.PyArray_TYPE(array)
    cdef bint native = cnp.PyArray_ISNOTSWAPPED(array)
    if own is not None and (typenum != cnp.PyArray_TYPE(own) or not native):
        raise TypeError(f"{place_of(kind, name)} has dtype {array.dtype}, expected {own.dtype} as "
                        f"{place_of('parameters', name)}: .astype(np.{own.dtype}) converts it")
    if not (native and (typenum == cnp.NPY_FLOAT32 or typenum == cnp.NPY_FLOAT64)):
        raise TypeError(f"{place_of(kind, name)} has dtype {array.dtype}, expected float32 or float64: "
                        ".astype(np.float32) converts it")
    if own is not None and not cnp.PyArray_SAMESHAPE(array, own):
        raise ValueError(f"{place_of(kind, name)} has shape {(<object>array).shape}, expected {(<object>own).shape} as "
                         f"{place_of('parameters', name)}")
    if not cnp.PyArray_ISCARRAY_RO(array):
        raise ValueError(f"{place_of(kind, name)} must be C-contiguous and aligned: np.ascontiguousarray(...) makes it so")
    if written and not cnp.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{place_of(kind, name)} is read-only: is it of a model's own parameters? A model is trained as "
                         "a whole, by an optimiser that is given the model itself")
    return 0


cdef int add_span(list spans, str kind, str name, cnp.ndarray array, bint written) except -1:
    """Append (begin, end, whether the array is written, kind, name)."""
    cdef size_t begin = <size_t>cnp.PyArray_DATA(array)
    if cnp.PyArray_SIZE(array):
        spans.append((begin, begin + <size_t>cnp.PyArray_NBYTES(array), written, kind, name))
    return 0


cdef int check_apart(list spans) except -1:
    """Raise if an array that is written shares memory with another."""
    cdef tuple span, other, reaching = None, writing = None  # the latter: of those so far, the ones that end last
    spans.sort()
    for span in spans:
        other = reaching if span[2] else writing
        if other is not None and span[0] < other[1]:
            raise ValueError(f"{place_of(span[3], span[4])} shares memory with {place_of(other[3], other[4])}: "
                             "give one of them a copy")
        if reaching is None or span[1] > reaching[1]:
            reaching = span
        if span[2] and (writing is None or span[1] > writing[1]):
            writing = span
    return 0


def check_parameters(list names not None, list arrays not None, list ranges not None):
    """Raise unless an optimiser can train arrays in place; the ranges are of those that it writes."""
    cdef list spans = []
    cdef size_t k
    written = {k for begin, end, *_ in ranges for k in range(begin, end)}
    for k in range(len(names)):
        check_named("parameters", names[k], arrays[k], None, k in written)
        add_span(spans, "parameters", names[k], arrays[k], k in written)
    check_apart(spans)


# ---- Steps ----

@cython.final
cdef class NamedArrays:
    """Exclusive access to the arrays of a dict and their averages, for the steps of one optimiser.

    An array of the dict is at one place in each of the lists of a step: names, parameters, gradients, averages. A range
    is (begin, end, lr, weight_decay) of some places; arrays in none of the ranges are left alone.
    """

    cdef clstm_i_access access

    def __reduce__(self):
        return NamedArrays, ()

    cdef int hold(self, unsigned *mark) except -1:
        cdef clstm_i_refusal refusal = clstm_i_hold(&self.access, CLSTM_I_WRITE, mark)
        if refusal == CLSTM_I_IS_TORN:
            raise RuntimeError(
                "the arrays and the optimiser's averages are torn: another thread was writing them when this process "
                "was forked; make a new optimiser, of arrays that are whole")
        if refusal != CLSTM_I_GRANTED:
            raise RuntimeError("another thread is taking a step of this optimiser")
        return 0

    cdef size_t read(self, Named *each, list names, list parameters, list gradients, dict averages, list ranges) except? 0:
        """Check the arrays of a step, and fill `each`; return how many there are."""
        cdef list spans = [], columns = [("grad", gradients, False)]
        cdef size_t count = 0, place, begin, end
        cdef double lr, weight_decay
        cdef cnp.ndarray own
        columns += [(kind, arrays, True) for kind, arrays in averages.items()]
        for begin, end, lr, weight_decay in ranges:
            for place in range(begin, end):
                own = parameters[place]
                check_named("parameters", names[place], own, None, True)
                add_span(spans, "parameters", names[place], own, True)
                for kind, arrays, written in columns:
                    check_named(kind, names[place], arrays[place], own, written)
                    add_span(spans, kind, names[place], arrays[place], written)
                each[count].parameters, each[count].gradients = data(own), data(gradients[place])
                each[count].first = data(columns[1][1][place])
                each[count].second = data(columns[2][1][place]) if len(columns) > 2 else NULL
                each[count].n, each[count].is_f64 = own.size, cnp.PyArray_TYPE(own) == cnp.NPY_FLOAT64
                each[count].lr, each[count].weight_decay = lr, weight_decay
                count += 1
        check_apart(spans)
        return count

    def adam_step(self, list names not None, list parameters not None, list gradients not None, dict averages not None,
                  Progress progress not None, settings, list ranges not None, size_t threads):
        """Take one step of Adam, and count it. Settings are beta1, beta2, eps; the averages m and v, in this order."""
        cdef clstm_adam adam = CLSTM_ADAM_INIT
        adam.beta1, adam.beta2, adam.eps = settings
        self.step(names, parameters, gradients, averages, progress, &adam, NULL, ranges, threads)

    def sgd_step(self, list names not None, list parameters not None, list gradients not None, dict averages not None,
                 Progress progress not None, double momentum, list ranges not None, size_t threads):
        """Take one step of gradient descent, and count it; the only average is velocity."""
        cdef clstm_sgd sgd = CLSTM_SGD_INIT
        sgd.momentum = momentum
        self.step(names, parameters, gradients, averages, progress, NULL, &sgd, ranges, threads)

    cdef int step(self, list names, list parameters, list gradients, dict averages, Progress progress,
                  clstm_adam *adam, clstm_sgd *sgd, list ranges, size_t threads) except -1:
        """Take a step of one of the optimisers; the other is NULL. From `hold` on no signal handler runs."""
        cdef size_t count, total = 0, k
        cdef unsigned mark = 0
        cdef clstm_status status
        cdef clstm_context context
        cdef Named *each = allocate_named(len(names))
        try:
            count = self.read(each, names, parameters, gradients, averages, ranges)
            for k in range(count):
                total += each[k].n
            context = make_context(threads_for(threads, NUMBERS * <double>total))
            self.hold(&mark)
            try:
                k = progress.begin()
                if adam != NULL:
                    adam.step = k
                with nogil:
                    status = update_all(each, count, adam, sgd, &context)
                progress.end(status == CLSTM_OK)
            finally:
                clstm_i_end_hold(&self.access, mark, False)
        finally:
            PyMem_Free(each)
        return raise_status(status, "Adam" if adam != NULL else "SGD")


cdef clstm_status update_all(Named *each, size_t count, clstm_adam *adam, clstm_sgd *sgd,
                             const clstm_context *context) noexcept nogil:
    """Take a step of one of the optimisers; the other is NULL."""
    cdef clstm_status status = CLSTM_OK
    cdef Named *one
    cdef size_t k
    for k in range(count):
        one = &each[k]
        if adam != NULL:
            adam.lr, adam.weight_decay = one.lr, one.weight_decay
            status = typed.adam_update(one.n, adam, one.parameters, one.gradients, one.first, one.second, context,
                                       one.is_f64)
        else:
            sgd.lr, sgd.weight_decay = one.lr, one.weight_decay
            status = typed.sgd_update(one.n, sgd, one.parameters, one.gradients, one.first, context, one.is_f64)
        if status != CLSTM_OK:
            break
    return status


# ---- Clipping ----

cdef void gather(Named *each, size_t count, void *flat, bint is_f64, bint back) noexcept nogil:
    """Copy arrays one after another to a flat one, which is of float64 if one of them is; or `back`."""
    cdef size_t width = sizeof(double) if is_f64 else sizeof(float)
    cdef size_t k, j, at = 0
    cdef char *place
    cdef double *wide
    cdef float *narrow
    for k in range(count):
        if each[k].is_f64 == is_f64:
            place = <char *>flat + at * width
            if back:
                memcpy(each[k].gradients, place, each[k].n * width)
            else:
                memcpy(place, each[k].gradients, each[k].n * width)
        else:
            wide, narrow = <double *>flat + at, <float *>each[k].gradients
            for j in range(each[k].n):
                if back:
                    narrow[j] = <float>wide[j]
                else:
                    wide[j] = narrow[j]
        at += each[k].n


def clip_named(list names not None, list arrays not None, double max_norm, size_t threads):
    """Scale arrays in place to a global norm of at most max_norm; return the original norm.

    They are copied one after another and clipped as one, so that the bits are those of the same flat array.
    """
    cdef list spans = []
    cdef size_t count = len(arrays), total = 0, k
    cdef cnp.ndarray array
    cdef bint is_f64 = False
    cdef double norm
    cdef Named *each = allocate_named(count)
    try:
        for k in range(count):
            array = arrays[k]
            check_named("grad", names[k], array, None, True)
            add_span(spans, "grad", names[k], array, True)
            each[k].gradients, each[k].n = data(array), array.size
            each[k].is_f64 = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64
            is_f64 = is_f64 or each[k].is_f64
            total += each[k].n
        check_apart(spans)
        array = empty(shaped(1, 0, 0, total), cnp.NPY_FLOAT64 if is_f64 else cnp.NPY_FLOAT32)
        gather(each, count, data(array), is_f64, False)
        norm = clip_global_norm(array, max_norm, threads)
        if max_norm < norm:
            gather(each, count, data(array), is_f64, True)
    finally:
        PyMem_Free(each)
    return norm

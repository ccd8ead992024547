# Checks which of a user's arrays the core can use in place, and allocates results. All functions are inline and raise
# only MemoryError; arrays that do not fit go to layout.py, which converts them or raises.

cimport numpy as cnp


# ---- Shapes: (first, batch, last), (first, last) or (last,) ----

cdef struct Shape:
    int axes
    cnp.npy_intp sizes[3]


cdef inline Shape shaped(int axes, cnp.npy_intp first, cnp.npy_intp batch, cnp.npy_intp last) noexcept:
    cdef Shape shape
    shape.axes = axes
    shape.sizes[0], shape.sizes[1] = first, batch
    shape.sizes[axes - 1] = last
    return shape


# ---- Arrays ----

cdef inline cnp.ndarray empty(Shape shape, int typenum):
    return cnp.PyArray_EMPTY(shape.axes, shape.sizes, typenum, 0)


cdef inline void *data(cnp.ndarray array) noexcept:
    return NULL if array is None else cnp.PyArray_DATA(array)


cdef inline bint readable(array, int typenum) noexcept:
    """Tell whether the core can read an array in place."""
    return (cnp.PyArray_Check(array) and cnp.PyArray_TYPE(<cnp.ndarray>array) == typenum
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array))


cdef inline cnp.ndarray contiguous(array, int typenum):
    """Return the array if the core can read it in place, else a copy; None for None."""
    if array is None or readable(array, typenum):
        return array
    return cnp.PyArray_FROM_OTF(array, typenum, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_NOTSWAPPED)


cdef inline bint fits(array, Shape shape, int typenum) noexcept:
    """Tell whether an object is exactly an ndarray, readable and of this shape."""
    return (cnp.PyArray_CheckExact(array) and readable(array, typenum)
            and cnp.PyArray_NDIM(<cnp.ndarray>array) == shape.axes
            and cnp.PyArray_CompareLists(cnp.PyArray_DIMS(<cnp.ndarray>array), shape.sizes, shape.axes))


cdef inline bint holds(cnp.ndarray array, cnp.npy_intp size, int typenum) noexcept:
    """Tell whether an array, if there is one, has as many elements as the core will read."""
    return array is None or (readable(array, typenum) and cnp.PyArray_SIZE(array) == size)


cdef inline bint is_sequence(array) noexcept:
    """Tell whether an object is an array with the axes of a sequence."""
    return cnp.PyArray_Check(array) and 2 <= cnp.PyArray_NDIM(<cnp.ndarray>array) <= 3


cdef inline bint disjoint(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Tell whether two C-contiguous arrays share no memory."""
    cdef char *a_begin = cnp.PyArray_BYTES(a)
    cdef char *b_begin = cnp.PyArray_BYTES(b)
    return a_begin + cnp.PyArray_NBYTES(a) <= b_begin or b_begin + cnp.PyArray_NBYTES(b) <= a_begin


cdef inline cnp.ndarray lengths_copied(array, cnp.npy_intp batch, size_t most):
    """Return a copy of valid lengths, or None. Each NumPy function instead would add 1 us to a small call."""
    cdef Shape shape = shaped(1, 0, 0, batch)
    if not fits(array, shape, cnp.NPY_INTP):
        return None
    cdef cnp.ndarray own = empty(shape, cnp.NPY_UINTP)
    cdef const size_t *values = <const size_t *>data(array)
    cdef size_t *copies = <size_t *>data(own)
    cdef cnp.npy_intp k
    for k in range(batch):
        copies[k] = values[k]
        if copies[k] > most:  # a negative length wraps to a huge one
            return None
    return own


# ---- A model's calls ----

cdef struct Geometry:
    cnp.npy_intp input_size, hidden_size
    cnp.npy_intp num_parts  # directions of all layers
    cnp.npy_intp state_size  # elements of h: proj_size, or hidden_size without a projection
    cnp.npy_intp width  # elements of a layer's h, all directions
    cnp.npy_intp output_size  # width without a readout
    bint batch_first
    int typenum


cdef inline Shape y_shape(const Geometry *model, int axes, cnp.npy_intp first, cnp.npy_intp second) noexcept:
    return shaped(axes, first, second, model.output_size)


cdef inline Shape h_shape(const Geometry *model, int axes, cnp.npy_intp batch) noexcept:
    return shaped(axes, model.num_parts, batch, model.state_size)


cdef inline Shape c_shape(const Geometry *model, int axes, cnp.npy_intp batch) noexcept:
    return shaped(axes, model.num_parts, batch, model.hidden_size)


cdef inline cnp.ndarray empty_y(const Geometry *model, cnp.ndarray x):
    return empty(y_shape(model, x.ndim, x.shape[0], x.shape[1]), model.typenum)


cdef inline cnp.ndarray axes_swapped(const Geometry *model, cnp.ndarray sequence):
    """Convert between the user's order of axes and the core's, which has the steps first."""
    return cnp.PyArray_SwapAxes(sequence, 0, 1) if model.batch_first and sequence.ndim == 3 else sequence


cdef inline bint part_fits(part, Shape shape, int typenum, out) noexcept:
    """Tell whether the core can read h or c in place."""
    return fits(part, shape, typenum) and (out is None or disjoint(<cnp.ndarray>out, <cnp.ndarray>part))


cdef inline bint state_fits(const Geometry *model, state, int axes, cnp.npy_intp batch, out) noexcept:
    """Tell whether the core can read a state in place."""
    if type(state) is not tuple or len(<tuple>state) != 2:  # a list could change before it is read
        return False
    h, c = <tuple>state
    return (part_fits(h, h_shape(model, axes, batch), model.typenum, out)
            and part_fits(c, c_shape(model, axes, batch), model.typenum, out))


cdef inline bint call_fits(const Geometry *model, x, state, out) noexcept:
    """Tell whether the core can read x and the state in place, and write y to `out`."""
    if not cnp.PyArray_CheckExact(x) or not 2 <= cnp.PyArray_NDIM(<cnp.ndarray>x) <= 3:
        return False
    cdef int axes = cnp.PyArray_NDIM(<cnp.ndarray>x), typenum = model.typenum
    cdef cnp.npy_intp *sizes = cnp.PyArray_DIMS(<cnp.ndarray>x)
    if not fits(x, shaped(axes, sizes[0], sizes[1], model.input_size), typenum):
        return False
    if out is not None and not (fits(out, y_shape(model, axes, sizes[0], sizes[1]), typenum)
                                and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
                                and disjoint(<cnp.ndarray>out, <cnp.ndarray>x)):
        return False
    cdef cnp.npy_intp batch = sizes[0 if model.batch_first else 1]
    return state is None or state_fits(model, state, axes, batch, out)

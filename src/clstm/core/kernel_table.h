/* What a kernel file gives to the step, typed: included by dispatch.h once for each type. */

/* Rows of one step of one layer; gates are 4 blocks of H, in the order i f g o, rows 4H apart; all others H apart. */
typedef struct TYPED(clstm_i_gates) {
    size_t rows, hidden_size;
    int keep;             /* store the activated gates, for a backward pass */
    const real *bias;     /* (4H,) */
    real *gates;          /* (rows, 4H) in: pre-activations without bias; out, if kept: activated */
    const real *c_before; /* (rows, H) */
    real *c;              /* (rows, H) may be c_before */
    real *h;              /* (rows, H) */
} TYPED(clstm_i_gates);

/* The same rows, backwards. */
typedef struct TYPED(clstm_i_gates_backward) {
    size_t rows, hidden_size;
    real *gates;          /* (rows, 4H) in: activated; out: gradients of the pre-activations */
    const real *c_before; /* (rows, H) */
    const real *c;        /* (rows, H) */
    const real *dh;       /* (rows, H) */
    real *dc;             /* (rows, H) in: gradient of c from the steps after; out: of c_before */
} TYPED(clstm_i_gates_backward);

typedef struct TYPED(clstm_i_kernels) {
    void (*gates)(const TYPED(clstm_i_gates) *);
    void (*gates_backward)(const TYPED(clstm_i_gates_backward) *);
    /* sums[j] += sum over rows of a[row * stride + j], j < columns */
    void (*sum_rows)(size_t rows, size_t columns, const real *a, size_t stride, real *sums);
    void (*tanh)(size_t n, const real *x, real *y);
    void (*sigmoid)(size_t n, const real *x, real *y);
} TYPED(clstm_i_kernels);

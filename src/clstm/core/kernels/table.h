/* The interface of the kernels, typed: arguments, and the table of functions that every kernels_*.c fills in. Included
   by dispatch.h once for each type. */

/* A cell other than the plain LSTM cell (cell_variants.h). */
typedef struct TYPED(clstm_i_function) {
    clstm_function function; /* never CLSTM_DEFAULT */
    real alpha, beta;
    real low, high; /* its smallest and largest value, given the clip */
} TYPED(clstm_i_function);

typedef struct TYPED(clstm_i_cell) {
    TYPED(clstm_i_function) gate, cell, hidden;
    int coupled;
    real clip, cell_clip; /* infinity: not clipped */
} TYPED(clstm_i_cell);

/* Some rows of one step of one layer. A row of gates is i, f, g, o of H each, with a stride of 4H; all other rows have
   a stride of H. */
typedef struct TYPED(clstm_i_gates) {
    size_t rows, hidden_size;
    int keep;             /* store the activated gates, for a backward pass */
    const real *bias;     /* (4H,) */
    real *gates;          /* (rows, 4H) in: pre-activations without bias; out, if kept: activated */
    const real *c_before; /* (rows, H) */
    real *c;              /* (rows, H) may be c_before */
    real *h;              /* (rows, H) */
    int fast; /* fast activations; not in cell_gates */
    const TYPED(clstm_i_cell) *cell; /* cell_gates only */
    const real *peephole; /* (3H,) i f o, or NULL; cell_gates only */
} TYPED(clstm_i_gates);

/* The backward pass of the same. */
typedef struct TYPED(clstm_i_gates_backward) {
    size_t rows, hidden_size;
    real *gates;          /* (rows, 4H) in: activated; out: gradients of the pre-activations */
    const real *c_before; /* (rows, H) */
    const real *c;        /* (rows, H) */
    const real *dh;       /* (rows, H); steps_backward computes it instead */
    real *dc;             /* (rows, H) in: gradient of c from the steps after; out: of c_before */
    const TYPED(clstm_i_cell) *cell; /* as in clstm_i_gates */
    const real *peephole;
} TYPED(clstm_i_gates_backward);

enum {
    TYPED(SKEWED_LAYERS) = 4, /* most layers that run a step apart */
    TYPED(CHAINS) = 64 / sizeof(real),       /* independent partial sums of a dot product */
    TYPED(GEMM_DEPTH) = 2048 / sizeof(real), /* columns of op(A) that `gemm` accumulates in registers */
};

/* A matrix of packed weights (passes/packed_weights.h). */
typedef struct TYPED(clstm_i_matrix) {
    const real *weights; /* NULL: none */
    size_t depth;        /* rows of the matrix, and columns of its left operand */
} TYPED(clstm_i_matrix);

/* One factor of a product: a times a matrix. */
typedef struct TYPED(clstm_i_factor) {
    const real *a; /* (rows, matrix.depth) */
    size_t stride; /* elements between rows of a */
    TYPED(clstm_i_matrix) matrix;
    size_t columns; /* of a: as many as the matrix is deep, but for a chain of a long sum (kernels/long_sums.h) */
} TYPED(clstm_i_factor);

/* Sums for some rows and blocks: a start plus one or two factors, as in bias + x_t W_ih^T + h_{t-1} W_hh^T. */
typedef struct TYPED(clstm_i_product) {
    size_t rows;
    size_t begin, end; /* blocks */
    size_t whole;      /* blocks of four vectors; one of `last` vectors may follow */
    size_t last;
    size_t count; /* factors, added in order, each from its first column to its last */
    TYPED(clstm_i_factor) factors[2];
    const real *start; /* (rows, .) in the layout of the sums; stride 0: one row for all, a bias */
    size_t start_stride;
    size_t narrow; /* columns of narrow weights (`multiply` only), or 0: the weights are in blocks */
} TYPED(clstm_i_product);

/* Time steps of some rows and blocks, from the product's sums to activations, c_t and h_t. The product's last factor
   has h_{t-1}. */
typedef struct TYPED(clstm_i_steps) {
    TYPED(clstm_i_product) product; /* of the first step */
    size_t first; /* index of the first step: its parity sets the order of blocks */
    size_t steps; /* > 1 only if this call has all blocks: a step reads every h_{t-1} */
    size_t batch; /* rows between consecutive steps, in every array over time */
    real *c;       /* (rows, stride) in: c_{t-1}; out: c_t */
    real *h;       /* (steps, batch, stride) */
    size_t stride; /* a multiple of LANES; the padding after H is written, too */
    size_t hidden_size;
    real *gates; /* (steps, batch, 4H) out: activated, for a backward pass; or NULL */
    real *cells; /* (steps, batch, H) out: c_t, likewise */
    int nontemporal; /* write gates and cells past the caches: their rows are aligned, H is a multiple of LANES */
    int fast; /* fast activations, and no gates; not in cell_steps */
    const TYPED(clstm_i_cell) *cell; /* cell_steps only */
    const real *peephole; /* (3H,) i f o, or NULL; cell_steps only */
} TYPED(clstm_i_steps);

/* The backward pass of the same steps, the last step first. dh_t = gradient from above + dG_{t+1} W_hh: the product
   starts from the gradient from above, and dG_{t+1} is its only factor (absent at the end of a sequence). The columns
   of W_hh are units, so a block is four vectors of them. */
typedef struct TYPED(clstm_i_steps_backward) {
    TYPED(clstm_i_product) product;      /* of the last step */
    TYPED(clstm_i_gates_backward) gates; /* of the last step */
    size_t first; /* index of the last step, as in clstm_i_steps */
    size_t steps; /* > 1 only if this call has all blocks: a step reads every h_{t-1} */
    size_t batch; /* rows between consecutive steps, in every array over time */
} TYPED(clstm_i_steps_backward);

/* One optimiser step over flat arrays. */
typedef struct TYPED(clstm_i_adam) {
    real *p;
    const real *g;
    real *m, *v;
    real toward1, toward2;   /* 1 - beta */
    real rate, divisor, eps; /* p = keep p - rate m / (sqrt(v) / divisor + eps) */
    real keep;               /* 1 without weight decay */
} TYPED(clstm_i_adam);

typedef struct TYPED(clstm_i_sgd) {
    real *p;
    const real *g;
    real *velocity;
    real rate, momentum, keep; /* p = keep p - rate velocity */
} TYPED(clstm_i_sgd);

typedef struct TYPED(clstm_i_kernels) {
    size_t lanes; /* elements of a vector */
    /* out[row * stride + column] for column < `columns`; the last column lies in the last block's last vector */
    void (*multiply)(const TYPED(clstm_i_product) *, real *out, size_t stride, size_t columns);
    /* `count` products that share op(A). `scratch`: CLSTM_I_GEMM_BYTES, aligned to 64 bytes. */
    void (*gemm)(const PUBLIC(gemm) *, size_t count, void *scratch);
    void (*steps)(const TYPED(clstm_i_steps) *);
    /* The steps of several layers, at most SKEWED_LAYERS, each a step behind the layer below it; h of every layer is an
       array of its own */
    void (*skewed_steps)(const TYPED(clstm_i_steps) *layers, size_t count);
    void (*steps_backward)(const TYPED(clstm_i_steps_backward) *);
    void (*gates)(const TYPED(clstm_i_gates) *);
    void (*gates_backward)(const TYPED(clstm_i_gates_backward) *);
    /* The same four for other cells; find_ranges fills in `low` and `high` of a cell's functions. */
    void (*cell_steps)(const TYPED(clstm_i_steps) *);
    void (*cell_steps_backward)(const TYPED(clstm_i_steps_backward) *);
    void (*cell_gates)(const TYPED(clstm_i_gates) *);
    void (*cell_gates_backward)(const TYPED(clstm_i_gates_backward) *);
    void (*find_ranges)(TYPED(clstm_i_cell) *);
    /* sums[j] += sum over rows of a[row * stride + j], j < columns */
    void (*sum_rows)(size_t rows, size_t columns, const real *a, size_t stride, real *sums);
    /* sums[j] += sum over rows of a[row * a_stride + j] b[row * b_stride + j], j < columns */
    void (*sum_products)(size_t rows, size_t columns, const real *a, size_t a_stride, const real *b, size_t b_stride,
                         real *sums);
    void (*tanh)(size_t n, const real *x, real *y);
    void (*sigmoid)(size_t n, const real *x, real *y);
    void (*adam)(const TYPED(clstm_i_adam) *, size_t begin, size_t end);
    void (*sgd)(const TYPED(clstm_i_sgd) *, size_t begin, size_t end);
    double (*sum_squares)(size_t n, const real *a);
    void (*scale)(size_t n, real *a, real factor);
} TYPED(clstm_i_kernels);

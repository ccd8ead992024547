/* What a kernel file gives to the step, typed: included by dispatch.h once for each type. */

/* A cell other than the plain one (cell_variants.h). */
typedef struct TYPED(clstm_i_function) {
    clstm_function function; /* never CLSTM_DEFAULT */
    real alpha, beta;
    real low, high; /* its range, as far as the bounds let it go */
} TYPED(clstm_i_function);

typedef struct TYPED(clstm_i_cell) {
    TYPED(clstm_i_function) gate, cell, hidden;
    int coupled;
    real clip, cell_clip; /* infinity where there is none */
} TYPED(clstm_i_cell);

/* Rows of one step of one layer; gates are 4 blocks of H, in the order i f g o, rows 4H apart; all others H apart. */
typedef struct TYPED(clstm_i_gates) {
    size_t rows, hidden_size;
    int keep;             /* store the activated gates, for a backward pass */
    const real *bias;     /* (4H,) */
    real *gates;          /* (rows, 4H) in: pre-activations without bias; out, if kept: activated */
    const real *c_before; /* (rows, H) */
    real *c;              /* (rows, H) may be c_before */
    real *h;              /* (rows, H) */
    const TYPED(clstm_i_cell) *cell; /* of cell_gates */
    const real *peephole; /* (3H,) i f o, or NULL; of cell_gates */
} TYPED(clstm_i_gates);

/* The same rows, backwards. */
typedef struct TYPED(clstm_i_gates_backward) {
    size_t rows, hidden_size;
    real *gates;          /* (rows, 4H) in: activated; out: gradients of the pre-activations */
    const real *c_before; /* (rows, H) */
    const real *c;        /* (rows, H) */
    const real *dh;       /* (rows, H); not read by steps_backward, which computes it */
    real *dc;             /* (rows, H) in: gradient of c from the steps after; out: of c_before */
    const TYPED(clstm_i_cell) *cell; /* as forwards */
    const real *peephole;
} TYPED(clstm_i_gates_backward);

enum {
    TYPED(CHAINS) = 64 / sizeof(real),       /* of a sum over a row: as many as a cache line has elements */
    TYPED(GEMM_DEPTH) = 2048 / sizeof(real), /* columns of op(A) that `gemm` sums up in registers */
};

/* A matrix of packed weights (passes/packed_weights.h). */
typedef struct TYPED(clstm_i_matrix) {
    const real *weights; /* NULL: none */
    size_t depth;        /* columns of a that it is multiplied with */
} TYPED(clstm_i_matrix);

/* a times a matrix. */
typedef struct TYPED(clstm_i_factor) {
    const real *a; /* (rows, matrix.depth) */
    size_t stride; /* elements from one row of a to the next */
    TYPED(clstm_i_matrix) matrix;
} TYPED(clstm_i_factor);

/* Sums for some rows and blocks: a start, then one or two factors, such as [x_t; h_{t-1}]. */
typedef struct TYPED(clstm_i_product) {
    size_t rows;
    size_t begin, end; /* blocks */
    size_t whole;      /* blocks of four vectors; at most one of `last` vectors follows them */
    size_t last;
    size_t count; /* factors: added in this order, each from its first column to its last */
    TYPED(clstm_i_factor) factors[2];
    const real *start; /* (rows, .) packed like the sums; with a stride of 0: a bias */
    size_t start_stride;
    size_t narrow; /* columns of narrow weights, for `multiply`; 0: the weights are in blocks */
} TYPED(clstm_i_product);

/* Steps: from such sums to the activations, c_t and h_t of the same rows and blocks. The product's last factor has
   h_{t-1}. */
typedef struct TYPED(clstm_i_steps) {
    TYPED(clstm_i_product) product; /* of the first step */
    size_t first; /* number of the first step, for the order of blocks */
    size_t steps; /* more than one only where this call has all blocks */
    size_t batch; /* rows from one step to the next, in all arrays over time */
    real *c;       /* (rows, stride) in: c_{t-1}; out: c_t */
    real *h;       /* (steps, batch, stride) */
    size_t stride; /* whole vectors: the lanes after H are written too */
    size_t hidden_size;
    real *gates; /* (steps, batch, 4H) activated, for a backward pass, or NULL */
    real *cells; /* (steps, batch, H) likewise */
    int nontemporal; /* both by non-temporal stores: their rows are aligned, H is whole vectors */
    const TYPED(clstm_i_cell) *cell; /* of cell_steps */
    const real *peephole; /* (3H,) i f o, or NULL; of cell_steps */
} TYPED(clstm_i_steps);

/* Steps backwards, of the same rows. A step's dh is a product with the transposed recurrent weights, whose columns are
   units, four vectors a block: it starts from the gradient that comes from above, and its only factor is the gates'
   gradients of the step after, or none where no step is. */
typedef struct TYPED(clstm_i_steps_backward) {
    TYPED(clstm_i_product) product;      /* of the last step */
    TYPED(clstm_i_gates_backward) gates; /* of the last step */
    size_t first; /* number of the last step, for the order of blocks */
    size_t steps; /* more than one only where this call has all blocks */
    size_t batch; /* rows from one step to the next, in all arrays over time */
} TYPED(clstm_i_steps_backward);

/* One step of an optimiser, over flat arrays. */
typedef struct TYPED(clstm_i_adam) {
    real *p;
    const real *g;
    real *m, *v;
    real toward1, toward2;   /* 1 - beta */
    real rate, divisor, eps; /* p -= rate m / (sqrt(v) / divisor + eps) */
} TYPED(clstm_i_adam);

typedef struct TYPED(clstm_i_sgd) {
    real *p;
    const real *g;
    real *velocity;
    real rate, momentum;
} TYPED(clstm_i_sgd);

typedef struct TYPED(clstm_i_kernels) {
    size_t lanes; /* of a vector */
    /* out[row * stride + column] of columns < `columns`, which end in the last block's last vector */
    void (*multiply)(const TYPED(clstm_i_product) *, real *out, size_t stride, size_t columns);
    /* Products of the same op(A). `scratch`: CLSTM_I_GEMM_BYTES, at a multiple of 64. */
    void (*gemm)(const PUBLIC(gemm) *, size_t count, void *scratch);
    void (*steps)(const TYPED(clstm_i_steps) *);
    void (*steps_backward)(const TYPED(clstm_i_steps_backward) *);
    void (*gates)(const TYPED(clstm_i_gates) *);
    void (*gates_backward)(const TYPED(clstm_i_gates_backward) *);
    /* The same four of cells other than the plain one, and what fills in their ranges. */
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

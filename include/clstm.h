/* clstm.h - run and train LSTMs on the CPU, from C, C++ and Cython.

   1. What a model computes

   For every layer, with x_t its input and h_{t-1}, c_{t-1} its state:

       i_t = sigmoid(W_i x_t + R_i h_{t-1} + b_i)      input gate
       f_t = sigmoid(W_f x_t + R_f h_{t-1} + b_f)      forget gate
       g_t = tanh   (W_g x_t + R_g h_{t-1} + b_g)      candidate cell
       o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)      output gate
       c_t = f_t * c_{t-1} + i_t * g_t                 cell state
       h_t = o_t * tanh(c_t)                           hidden state

   With a projection h_t = weight_hr (o_t * tanh(c_t)), of R elements; without one R below stands for H. Layer
   k > 0 reads the h of layer k - 1. A bidirectional layer is two of these, one from the first step to the last and one
   back, and its h are both of theirs side by side. With a readout, y_t = weight_out h_t + bias_out of the last layer;
   without one y_t is its h_t, and O below stands for D R.

   T steps, B batch rows, I input_size, H hidden_size, R proj_size, L num_layers, D directions (1 or 2), O
   output_size. Arrays are C-contiguous, aligned as their type, and never alias unless a comment allows it. Where an
   array has L D parts, layer k's direction d is number k D + d, the reverse direction of two the second.

   2. A complete program

       #include <stdio.h>
       #include <clstm.h>

       int main(void)
       {
           clstm_config config = CLSTM_CONFIG_INIT;
           config.input_size = 1;
           config.hidden_size = 2;

           float parameters[8 + 16 + 8], x[3] = {1, 0, -1}, y[3 * 2];
           for (size_t k = 0; k < 32; k++) parameters[k] = 0.1f * (float)k;

           clstm_model *model = NULL;
           clstm_status status = clstm_model_create(&config, parameters, NULL, &model);

           clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
           sequence.steps = 3;
           sequence.batch = 1;
           sequence.x = x;
           sequence.y = y;
           if (!status) status = clstm_forward(model, &sequence, NULL);

           printf("%s: %g %g\n", clstm_strerror(status), y[4], y[5]);
           clstm_model_free(model);
           return (int)status;
       }

   3. A live signal

   Sample by sample, in memory of the caller's, without an allocation, a lock or a system call after clstm_stream_init:

       #include <math.h>
       #include <stdio.h>
       #include <stdlib.h>
       #include <clstm.h>

       int main(int argc, char **argv)
       {
           clstm_config config = CLSTM_CONFIG_INIT;
           config.input_size = 1;
           config.hidden_size = 16;
           config.output_size = 1;

           clstm_model *model = NULL;      // zeros, unless the name of a file of clstm.LSTM.save is given
           clstm_status status = argc > 1 ? clstm_model_from_file(argv[1], NULL, &model)
                                          : clstm_model_create(&config, NULL, NULL, &model);
           size_t bytes = 0;
           if (!status) status = clstm_stream_size(model, 1, &bytes);
           void *memory = malloc(bytes);
           clstm_stream *stream = NULL;
           if (!status) status = clstm_stream_init(model, 1, 0, memory, bytes, &stream);

           float x, y = 0;
           for (int t = 0; t < 48000 && !status; t++) {
               x = sinf(0.05f * (float)t);
               status = clstm_stream_step(stream, &x, &y);
           }
           printf("%s: %g\n", clstm_strerror(status), y);
           clstm_stream_release(stream);
           clstm_model_free(model);
           free(memory);
           return (int)status;
       }

   4. Training

   clstm_record is clstm_forward that keeps what clstm_backward needs. Here y_t is to become x_{t-1}:

       #include <stdio.h>
       #include <stdlib.h>
       #include <clstm.h>

       enum { T = 20, B = 8, H = 8, P = 4 * H * (1 + H + 1) + H + 1 };

       static float parameters[P], gradients[P], m[P], v[P], x[T * B], y[T * B], dy[T * B];

       static float drawn(void) { return (float)rand() / (float)RAND_MAX - 0.5f; }

       static clstm_status step(clstm_model *model, clstm_adam *adam, float *loss)
       {
           clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
           clstm_gradients wanted = CLSTM_GRADIENTS_INIT;
           clstm_tape *tape;
           double norm;
           sequence.steps = T;
           sequence.batch = B;
           sequence.x = x;
           sequence.y = y;
           clstm_status status = clstm_record(model, &sequence, NULL, &tape);
           if (status) return status;

           *loss = 0;
           for (int k = B; k < T * B; k++) {
               dy[k] = 2 * (y[k] - x[k - B]) / (T * B);
               *loss += (y[k] - x[k - B]) * (y[k] - x[k - B]) / (T * B);
           }
           wanted.dy = dy;
           wanted.parameters = gradients;
           status = clstm_backward(tape, &wanted, NULL);
           clstm_tape_free(tape);
           if (!status) status = clstm_clip_global_norm(P, gradients, 1.0, &norm, NULL);
           if (!status) status = clstm_adam_step(model, adam, gradients, m, v, NULL);
           adam->step++;
           return status;
       }

       int main(void)
       {
           clstm_config config = CLSTM_CONFIG_INIT;
           config.input_size = config.output_size = 1;
           config.hidden_size = H;
           for (int k = 0; k < P; k++) parameters[k] = drawn();

           clstm_model *model = NULL;
           clstm_status status = clstm_model_create(&config, parameters, NULL, &model);
           clstm_adam adam = CLSTM_ADAM_INIT;
           adam.lr = 1e-2;
           float loss = 0;
           for (int n = 0; n < 500 && !status; n++) {
               for (int k = 0; k < T * B; k++) x[k] = drawn();
               status = step(model, &adam, &loss);
           }
           printf("%s: %s\n", clstm_strerror(status), loss < 0.02f ? "learned" : "not learned");
           clstm_model_free(model);    // clstm_model_parameters(model) is what it has learned
           return (int)status;
       }

   5. What a host can bring

   A clstm_context holds threads, an allocator and a BLAS, each of them optional. No BLAS is called but by the engine
   of that name (clstm_engine), which without one multiplies by the library's own kernels:

       #include <stdio.h>
       #include <stdlib.h>
       #include <clstm.h>

       static void sgemm(const clstm_gemm *p)  // of a CBLAS: cblas_sgemm(CblasRowMajor, p->transpose_a ? ...)
       {
           for (size_t i = 0; i < p->m; i++)
               for (size_t j = 0; j < p->n; j++) {
                   float sum = p->accumulate ? p->c[i * p->ldc + j] : 0;
                   for (size_t k = 0; k < p->k; k++)
                       sum += p->a[p->transpose_a ? k * p->lda + i : i * p->lda + k]
                              * p->b[p->transpose_b ? j * p->ldb + k : k * p->ldb + j];
                   p->c[i * p->ldc + j] = sum;
               }
       }

       static void *allocate(void *user, size_t bytes)
       {
           *(size_t *)user += bytes;
           return malloc(bytes);
       }

       static void release(void *user, void *block)
       {
           (void)user;
           free(block);
       }

       int main(void)
       {
           size_t taken = 0;
           clstm_context context = CLSTM_CONTEXT_INIT;
           context.sgemm = sgemm;
           context.allocate = allocate;
           context.release = release;
           context.user = &taken;
           context.team = clstm_openmp_team(0);  // or a clstm_team around the host's own threads

           clstm_config config = CLSTM_CONFIG_INIT;
           config.input_size = 1;
           config.hidden_size = 64;
           clstm_model *model = NULL;
           clstm_status status = clstm_model_create(&config, NULL, &context, &model);

           static float x[100 * 8], y[100 * 8 * 64];
           clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
           sequence.steps = 100;
           sequence.batch = 8;
           sequence.x = x;
           sequence.y = y;
           if (!status) status = clstm_forward(model, &sequence, &context);
           printf("%s: %s\n", clstm_strerror(status), taken ? "by the host's allocator" : "by malloc");
           clstm_model_free(model);
           return (int)status;
       }

   6. Types

   float32 is the product, and its functions carry no suffix. Every function and struct that touches numbers
   has a float64 twin that ends in _f64 and differs in nothing else.

   7. Structs and defaults

   A struct is set up by its CLSTM_..._INIT macro, which also records its size, so that later versions can add
   fields. In every field zero means the default.

   8. Threads and ownership

   A model may be shared by any number of calls at once; clstm_model_update, the optimisers' steps and clstm_model_free
   need it alone. A tape and a stream are one caller's at a time. All other functions may be called by any number of
   threads. Calls run on the caller's thread unless the context brings a team. Denormals are flushed
   inside a call, and the caller's floating-point environment is restored when it returns.

   What a call reads and writes is the caller's, and is needed until the call returns, unless a comment says longer. Of
   what the library makes, clstm_model_free takes models, clstm_tape_free tapes, and clstm_stream_release streams. */

#ifndef CLSTM_H
#define CLSTM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLSTM_VERSION_MAJOR 0
#define CLSTM_VERSION_MINOR 1
#define CLSTM_VERSION_PATCH 0

/* The version of the library that is linked, "major.minor.patch". Static, never NULL. */
const char *clstm_version(void);

/* ---- Errors ---------------------------------------------------------------------------------------------- */

/* What a fallible call returns. Unless the call says otherwise, nothing has been written when it is not OK. */
typedef enum clstm_status {
    CLSTM_OK = 0,
    CLSTM_INVALID_ARGUMENT, /* a NULL pointer or a struct of unknown size where a valid one is needed */
    CLSTM_INVALID_CONFIG,   /* a size is zero, the projection is no smaller than H, a direction or function is unknown,
                               or a number of the cell is negative or not finite */
    CLSTM_OVERFLOW,         /* the sizes multiply to more than memory can address */
    CLSTM_OUT_OF_MEMORY,    /* the allocator returned NULL */
    CLSTM_WRONG_DTYPE,      /* a float32 call on a float64 model or tape, or the reverse */
    CLSTM_CANCELLED,        /* the context's cancelled() asked to stop; outputs are undefined */
    CLSTM_TAPE_CONSUMED,    /* clstm_backward has already used up this tape */
    CLSTM_MODEL_CHANGED,    /* the parameters changed between clstm_record and clstm_backward */
    CLSTM_NOT_CAUSAL,       /* a stream of a model that has a reverse direction, which begins at the end */
    CLSTM_NO_GRADIENT,      /* clstm_record of a cell with a function that is for inference only */
    CLSTM_UNKNOWN_ISA,      /* the environment's CLSTM_ISA names no instruction set that this CPU and build have */
    CLSTM_UNKNOWN_ENGINE,   /* the environment's CLSTM_ENGINE is neither "packed" nor "blas" */
    CLSTM_INVALID_FILE,     /* the file is malformed, or none that LSTM.save writes */
    CLSTM_FILE_ERROR        /* the file cannot be opened or read; errno tells why */
} clstm_status;

/* One English sentence without a full stop. Static, never NULL. */
const char *clstm_strerror(clstm_status status);

/* ---- What the host supplies ------------------------------------------------------------------------------ */

/* One product of row-major matrices, C = op(A) op(B) or C += op(A) op(B). */
typedef struct clstm_gemm {
    size_t m, n, k;               /* op(A) is m x k, op(B) is k x n, C is m x n; k may be 0 */
    const float *a;               /* m x k, or k x m if transpose_a */
    const float *b;               /* k x n, or n x k if transpose_b */
    float *c;                     /* m x n; shares no memory with a or b */
    size_t lda, ldb, ldc;         /* elements from one row to the next */
    int transpose_a, transpose_b; /* 0 or 1 */
    int accumulate;               /* 0: C is overwritten, and may hold anything before; 1: added to */
} clstm_gemm;

typedef struct clstm_gemm_f64 {
    size_t m, n, k;
    const double *a;
    const double *b;
    double *c;
    size_t lda, ldb, ldc;
    int transpose_a, transpose_b;
    int accumulate;
} clstm_gemm_f64;

/* Threads that work together. run() calls task(argument, index, count) once for every index < count, all at the
   same time and the caller's thread as index 0, and returns when all have returned. It chooses count, at least 1
   and at most `wanted`. */
typedef struct clstm_team {
    size_t size;
    size_t threads; /* the largest count that run() will choose; 0 or 1: run() is not called */
    void (*run)(void *user, size_t wanted, void (*task)(void *argument, size_t index, size_t count), void *argument);
    void *user; /* handed to run() */
} clstm_team;
#define CLSTM_TEAM_INIT {sizeof(clstm_team), 0, NULL, NULL}

/* A team of at most `threads` OpenMP threads (0: clstm_default_threads()). One thread if the library was built
   without OpenMP, in a forked child, inside a parallel region, or while another thread's team runs. */
clstm_team clstm_openmp_team(size_t threads);

/* The least of OMP_NUM_THREADS (where set), the CPUs of the affinity mask and the cgroup's quota; at least 1. */
size_t clstm_default_threads(void);

/* 1 if the library was built with OpenMP, else 0. */
int clstm_has_openmp(void);

/* What the calls of one host have in common. A NULL context is one with all defaults. */
typedef struct clstm_context {
    size_t size;

    /* Row-major matrix products of the engine "blas" (clstm_engine), called from several threads at once on disjoint
       C. NULL: the library's own. */
    void (*sgemm)(const clstm_gemm *product);
    void (*dgemm)(const clstm_gemm_f64 *product);

    /* Memory. `allocate` returns a block for any alignment of a C type, or NULL. NULL: malloc and free. A model or
       tape is freed by the allocator that made it. A model also keeps its packed weights, made by the first call, and
       the workspace of a pass for the next one, both from its own allocator. */
    void *(*allocate)(void *user, size_t bytes);
    void (*release)(void *user, void *block);

    /* Polled by the caller's thread about every 50 ms; non-zero ends the call with CLSTM_CANCELLED. */
    int (*cancelled)(void *user);

    void *user; /* handed to allocate, release and cancelled */

    clstm_team team; /* default: the caller's thread alone */
} clstm_context;
#define CLSTM_CONTEXT_INIT {sizeof(clstm_context), NULL, NULL, NULL, NULL, NULL, NULL, CLSTM_TEAM_INIT}

/* ---- What computes --------------------------------------------------------------------------------------- */

/* The kernels in use: "generic", "avx2", "avx512" or "neon". Chosen once, by the CPU or the environment's CLSTM_ISA;
   NULL if that names none that this CPU and build have. */
const char *clstm_isa(void);

/* The names that CLSTM_ISA may take here, best first, ended by NULL. Static. */
const char *const *clstm_isa_list(void);

/* The engine in use. "packed": product and gates tile by tile, on weights packed once for each version of a model; no
   BLAS, and forward results that are equal bit by bit for every number of threads, batch and cutting of a sequence into
   calls. "blas": the context's gemm for every product, the plain second opinion, equal to rounding. Chosen once by the
   environment's CLSTM_ENGINE, else "packed"; NULL if that names neither. */
const char *clstm_engine(void);

/* The names that CLSTM_ENGINE may take, ended by NULL. Static. */
const char *const *clstm_engine_list(void);

/* ---- Models ---------------------------------------------------------------------------------------------- */

/* Which way through time. A row of its own length goes back from its own last step. */
typedef enum clstm_direction {
    CLSTM_FORWARD = 0,
    CLSTM_REVERSE = 1,
    CLSTM_BIDIRECTIONAL = 2 /* both: D = 2 */
} clstm_direction;

/* A function of the cell. Those up to CLSTM_RELU have gradients, the others are for inference. alpha and beta are the
   function's own, where the formula has them, and never default to anything. Source: the ONNX operator LSTM, whose
   usual values stand in brackets. */
typedef enum clstm_function {
    CLSTM_DEFAULT = 0,      /* CLSTM_SIGMOID of the gates; else CLSTM_TANH */
    CLSTM_SIGMOID,          /* 1 / (1 + exp(-x)) */
    CLSTM_TANH,
    CLSTM_HARD_SIGMOID,     /* min(max(alpha x + beta, 0), 1) [0.2, 0.5] */
    CLSTM_RELU,             /* max(x, 0) */
    CLSTM_AFFINE,           /* alpha x + beta */
    CLSTM_LEAKY_RELU,       /* x if x >= 0, else alpha x [0.01] */
    CLSTM_THRESHOLDED_RELU, /* x if x >= alpha, else 0 [1] */
    CLSTM_SCALED_TANH,      /* alpha tanh(beta x) */
    CLSTM_ELU,              /* x if x >= 0, else alpha (exp(x) - 1) [1] */
    CLSTM_SOFTSIGN,         /* x / (1 + |x|) */
    CLSTM_SOFTPLUS          /* log(1 + exp(x)) */
} clstm_function;

typedef struct clstm_activation {
    clstm_function function;
    double alpha, beta; /* finite */
} clstm_activation;

/* A cell other than that of section 1; all zero is that one. With peepholes p, and each gate's sum and c_t bounded,

       i_t = gate(W_i x_t + R_i h_{t-1} + b_i + p_i * c_{t-1})
       f_t = gate(W_f x_t + R_f h_{t-1} + b_f + p_f * c_{t-1}),  or 1 - i_t if coupled
       g_t = cell(W_g x_t + R_g h_{t-1} + b_g)
       c_t = f_t * c_{t-1} + i_t * g_t
       o_t = gate(W_o x_t + R_o h_{t-1} + b_o + p_o * c_t)
       h_t = o_t * hidden(c_t)

   The plain cell runs on kernels of its own, however it is spelled. */
typedef struct clstm_cell {
    int peephole;     /* 1: weight_peephole_l{k} */
    int coupled;      /* 1: what the parameters have for the forget gate counts for nothing, and has no gradient */
    double clip;      /* every gate's sum is bounded to [-clip, clip] before its function; 0: it is not */
    double cell_clip; /* c_t is bounded to [-cell_clip, cell_clip]; 0: it is not */
    clstm_activation gate, cell, hidden;
} clstm_cell;
#define CLSTM_CELL_INIT {0, 0, 0, 0, {CLSTM_DEFAULT, 0, 0}, {CLSTM_DEFAULT, 0, 0}, {CLSTM_DEFAULT, 0, 0}}

typedef struct clstm_config {
    size_t size;
    size_t input_size;  /* I >= 1 */
    size_t hidden_size; /* H >= 1 */
    size_t num_layers;  /* L; 0 means 1 */
    size_t output_size; /* O; 0 means no readout */
    int no_bias;        /* 1: no bias_l{k}, no bias_out */
    clstm_direction direction;
    size_t proj_size;   /* R < H; 0 means no projection */
    int learn_state;    /* 1: the initial state is a parameter */
    clstm_cell cell;
} clstm_config;
#define CLSTM_CONFIG_INIT {sizeof(clstm_config), 0, 0, 0, 0, 0, CLSTM_FORWARD, 0, 0, CLSTM_CELL_INIT}

/* One named tensor of the flat parameter array. Gate blocks are stacked i, f, g, o along the rows. */
typedef struct clstm_parameter {
    char name[48];  /* weight_ih_l{k} (4H, I or D R), weight_hh_l{k} (4H, R), bias_l{k} (4H,), weight_hr_l{k} (R, H),
                       weight_peephole_l{k} (3H,), blocks i, f, o, of every layer k in turn, with "_reverse" after them
                       for the reverse direction; then weight_out (O, D R), bias_out (O,); then h0 (L D, R),
                       c0 (L D, H) */
    size_t rows;
    size_t columns; /* 0: one-dimensional */
    size_t offset;  /* of the first element in the flat array */
} clstm_parameter;

/* How many tensors a model of this configuration has, and how many elements they have together. */
clstm_status clstm_config_count(const clstm_config *config, size_t *tensors, size_t *elements);

/* The tensor number `index` < tensors. */
clstm_status clstm_config_parameter(const clstm_config *config, size_t index, clstm_parameter *parameter);

/* Immutable but for clstm_model_update. */
typedef struct clstm_model clstm_model;

/* Makes a model; the parameters (the flat array, clstm_config_count elements; NULL: all zero) are copied. On failure
   *model is NULL. Free it with clstm_model_free. The context's allocator must outlive the model. */
clstm_status clstm_model_create(const clstm_config *config, const float *parameters, const clstm_context *context,
                                clstm_model **model);
clstm_status clstm_model_create_f64(const clstm_config *config, const double *parameters,
                                    const clstm_context *context, clstm_model **model);

/* Replaces all parameters by a copy of the flat array. Needs the model alone. */
clstm_status clstm_model_update(clstm_model *model, const float *parameters);
clstm_status clstm_model_update_f64(clstm_model *model, const double *parameters);

/* The model's own flat array, to read; valid until clstm_model_free. NULL if the model is NULL or of the other type. */
const float *clstm_model_parameters(const clstm_model *model);
const double *clstm_model_parameters_f64(const clstm_model *model);

/* Frees the model; NULL is allowed. No call may be using it, no tape may be used after it (but freed). */
void clstm_model_free(clstm_model *model);

/* ---- Models from files ----------------------------------------------------------------------------------- */

/* Makes a model of a safetensors file as LSTM.save writes it, of the file's type and configuration: clstm_model_is_f64
   and clstm_model_config tell which. batch_first is ignored: arrays in C are always (T, B, .).

   The model owns copies of all numbers and is freed like any other. On failure *model is NULL: CLSTM_INVALID_ARGUMENT,
   CLSTM_INVALID_FILE, CLSTM_OUT_OF_MEMORY or, of a path alone, CLSTM_FILE_ERROR. Files may come from anyone: nothing
   is taken on trust, and all memory, at most twice the file and a constant, is the context's allocator's (but a
   stream's buffer). The JSON header may have 16 MiB. Any number of calls may run at once. Only on little-endian
   hosts; on others every file is CLSTM_INVALID_FILE. */

/* Of a file's contents in memory, aligned or not, which must not change meanwhile and are not needed afterwards. */
clstm_status clstm_model_from_bytes(const void *bytes, size_t size, const clstm_context *context,
                                    clstm_model **model);

/* Of a file by its path, which must allow to seek. */
clstm_status clstm_model_from_file(const char *path, const clstm_context *context, clstm_model **model);

/* 1 if the model's numbers are float64, else 0; 0 for NULL. */
int clstm_model_is_f64(const clstm_model *model);

/* The configuration, with num_layers at least 1; valid until clstm_model_free. NULL for NULL. */
const clstm_config *clstm_model_config(const clstm_model *model);

/* ---- Forward --------------------------------------------------------------------------------------------- */

/* What clstm_record keeps. */
typedef enum clstm_keep {
    CLSTM_KEEP_GATES = 0, /* gates and states: about (I + 6 L D H) T B elements */
    CLSTM_KEEP_STATES = 1 /* states, (I + 2 L D H) T B: clstm_backward computes the gates again, same to rounding */
} clstm_keep;

/* What one call reads and writes. All memory is the caller's. T = 0, B = 0 and lengths of 0 work: the state passes
   through. Sequences are (T, B, .), and where a row is shorter than T nothing of x after its end is read and y is zero
   there; or, if ragged, without padding, the steps of one row after those of the other, (sum of lengths, .). */
typedef struct clstm_sequence {
    size_t size;
    size_t steps; /* T */
    size_t batch; /* B */
    const float *x;  /* (T, B, I); may be NULL if T * B = 0 */
    const float *h0; /* (L D, B, R) initial hidden state, or NULL: the model's own, or zero */
    const float *c0; /* (L D, B, H) initial cell state, or NULL: the model's own, or zero */
    float *y;        /* (T, B, O), or NULL: not wanted; shares no memory with what is read */
    float *hn;       /* (L D, B, R) hidden state after each row's own last step, or NULL: not wanted; may be h0 */
    float *cn;       /* (L D, B, H) cell state likewise, or NULL: not wanted; may be c0 */
    clstm_keep keep; /* of clstm_record */
    const size_t *lengths; /* (B,) steps of each row, in any order, at most T; or NULL: all T */
    int ragged;            /* 1: no padding; T is then only a limit to the lengths */
    /* Of clstm_record alone: factors, 0 or 1 / (1 - p) where p is the probability of a zero. They must stay until
       clstm_backward has returned. */
    const float *dropout;           /* (L - 1, T, B, D R) of each layer's h on its way to the next one, or NULL */
    const float *recurrent_dropout; /* (L D, B, R) of h_{t-1} in the gates, the same at all steps, or NULL */
} clstm_sequence;
#define CLSTM_SEQUENCE_INIT \
    {sizeof(clstm_sequence), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, CLSTM_KEEP_GATES, NULL, 0, NULL, NULL}

typedef struct clstm_sequence_f64 {
    size_t size;
    size_t steps;
    size_t batch;
    const double *x;
    const double *h0;
    const double *c0;
    double *y;
    double *hn;
    double *cn;
    clstm_keep keep;
    const size_t *lengths;
    int ragged;
    const double *dropout;
    const double *recurrent_dropout;
} clstm_sequence_f64;
#define CLSTM_SEQUENCE_F64_INIT \
    {sizeof(clstm_sequence_f64), 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, CLSTM_KEEP_GATES, NULL, 0, NULL, NULL}

/* Runs the model over a sequence. */
clstm_status clstm_forward(const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context);
clstm_status clstm_forward_f64(const clstm_model *model, const clstm_sequence_f64 *sequence,
                               const clstm_context *context);

/* ---- Training -------------------------------------------------------------------------------------------- */

/* A recorded forward pass: a copy of x, and what clstm_keep says. One caller's at a time. */
typedef struct clstm_tape clstm_tape;

/* What can be read from a tape, one direction of one layer at a time. */
typedef enum clstm_tape_field {
    CLSTM_INPUT_GATE = 0,  /* i_t, (T, B, H) */
    CLSTM_FORGET_GATE = 1, /* f_t, (T, B, H) */
    CLSTM_CELL_GATE = 2,   /* g_t, (T, B, H) */
    CLSTM_OUTPUT_GATE = 3, /* o_t, (T, B, H) */
    CLSTM_CELL_STATE = 4,  /* c_t, (T, B, H) */
    CLSTM_HIDDEN_STATE = 5 /* h_t, (T, B, R) */
} clstm_tape_field;

/* clstm_forward that keeps what clstm_backward needs (sequence->keep). On failure *tape is NULL. */
clstm_status clstm_record(const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context,
                          clstm_tape **tape);
clstm_status clstm_record_f64(const clstm_model *model, const clstm_sequence_f64 *sequence,
                              const clstm_context *context, clstm_tape **tape);

/* Copies one field, which the tape must have kept, of part k D + d: element (t, b, j) goes to
   out[(t B + b) row_stride + j], zero after a row's end; the rows of a ragged sequence lie as in y. */
clstm_status clstm_tape_read(const clstm_tape *tape, clstm_tape_field field, size_t part, float *out,
                             size_t row_stride);
clstm_status clstm_tape_read_f64(const clstm_tape *tape, clstm_tape_field field, size_t part, double *out,
                                 size_t row_stride);

/* Gradients of a loss: dy, dhn and dcn come in, the others go out. dy and dx lie as y and x did; after a row's end dy
   is not read, and dx is zero. */
typedef struct clstm_gradients {
    size_t size;
    const float *dy;   /* (T, B, O), or NULL: zero */
    const float *dhn;  /* (L D, B, R), or NULL: zero */
    const float *dcn;  /* (L D, B, H), or NULL: zero */
    float *dx;         /* (T, B, I), or NULL: not wanted, and not computed */
    float *dh0;        /* (L D, B, R), or NULL: not wanted */
    float *dc0;        /* (L D, B, H), or NULL: not wanted */
    float *parameters; /* flat, as the model's; or NULL: not wanted, and not computed */
    int accumulate; /* 1: added to what `parameters` holds, as for truncated backpropagation; 0: overwrites it */
} clstm_gradients;
#define CLSTM_GRADIENTS_INIT {sizeof(clstm_gradients), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0}

typedef struct clstm_gradients_f64 {
    size_t size;
    const double *dy;
    const double *dhn;
    const double *dcn;
    double *dx;
    double *dh0;
    double *dc0;
    double *parameters;
    int accumulate;
} clstm_gradients_f64;
#define CLSTM_GRADIENTS_F64_INIT {sizeof(clstm_gradients_f64), NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0}

/* Backpropagation through time. Uses the tape up, also when cancelled: only clstm_tape_free may follow. Out of memory
   and refusals leave it as it was. */
clstm_status clstm_backward(clstm_tape *tape, const clstm_gradients *gradients, const clstm_context *context);
clstm_status clstm_backward_f64(clstm_tape *tape, const clstm_gradients_f64 *gradients,
                                const clstm_context *context);

/* Frees the tape; NULL is allowed. */
void clstm_tape_free(clstm_tape *tape);

/* ---- Optimisers ------------------------------------------------------------------------------------------ */

/* Passes over flat arrays. A step changes the model in place and needs it alone, as clstm_model_update does. Gradients
   are those of clstm_backward, clstm_config_count elements; an optimiser's state is the caller's, as many, zeros at
   first. No two arrays share memory. In the settings zero is zero: the INIT macros hold the usual values. */

/* Adam. For a gradient g, t counting the steps from 1:
       m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
       p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
   D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1. */
typedef struct clstm_adam {
    size_t size;
    size_t step; /* t, at least 1 */
    double lr;
    double beta1, beta2;
    double eps;
} clstm_adam;
#define CLSTM_ADAM_INIT {sizeof(clstm_adam), 1, 1e-3, 0.9, 0.999, 1e-8}

clstm_status clstm_adam_step(clstm_model *model, const clstm_adam *adam, const float *gradients, float *m, float *v,
                             const clstm_context *context);
clstm_status clstm_adam_step_f64(clstm_model *model, const clstm_adam *adam, const double *gradients, double *m,
                                 double *v, const clstm_context *context);

/* Gradient descent with momentum: velocity = momentum velocity + g, p = p - lr velocity. */
typedef struct clstm_sgd {
    size_t size;
    double lr;
    double momentum;
} clstm_sgd;
#define CLSTM_SGD_INIT {sizeof(clstm_sgd), 1e-2, 0}

clstm_status clstm_sgd_step(clstm_model *model, const clstm_sgd *sgd, const float *gradients, float *velocity,
                            const clstm_context *context);
clstm_status clstm_sgd_step_f64(clstm_model *model, const clstm_sgd *sgd, const double *gradients, double *velocity,
                                const clstm_context *context);

/* Scales n gradients by one factor, so that their norm is at most max_norm > 0; *norm is what it was, summed in double.
   Where that is infinite or NaN nothing is scaled.
   R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1. */
clstm_status clstm_clip_global_norm(size_t n, float *gradients, double max_norm, double *norm,
                                    const clstm_context *context);
clstm_status clstm_clip_global_norm_f64(size_t n, double *gradients, double max_norm, double *norm,
                                        const clstm_context *context);

/* ---- Streams --------------------------------------------------------------------------------------------- */

/* Sequences that arrive bit by bit, in the caller's memory. After clstm_stream_init nothing here allocates, locks,
   waits, starts a thread or calls the system, but for clstm_stream_refresh and clstm_stream_release, so that an audio
   callback may step. Results are equal bit by bit to those of one clstm_forward over the whole sequence, by the packed
   engine.

       size_t bytes;
       clstm_stream *stream;
       clstm_stream_size(model, 1, &bytes);
       void *memory = malloc(bytes);
       clstm_stream_init(model, 1, 0, memory, bytes, &stream);
       while (read_sample(&x)) {
           clstm_stream_step(stream, &x, &y);
           write_sample(y);
       }
       clstm_stream_release(stream);
       free(memory);

   A stream has rows, sequences that advance together, as a batch does, (rows, I) in and (rows, O) out at each step. It
   is one caller's at a time, any number of streams may run at once. It keeps the weights that it began with, also when
   the model is updated or freed. Models with a reverse direction have no streams. */
typedef struct clstm_stream clstm_stream;

/* For hosts that flush denormals themselves: the floating-point environment is left as it is. Otherwise each call of
   clstm_stream_step and clstm_stream_process flushes them, and restores the caller's environment. */
#define CLSTM_STREAM_KEEP_ENVIRONMENT 1

/* The bytes that a stream of `batch` >= 1 rows takes, at any address. */
clstm_status clstm_stream_size(const clstm_model *model, size_t batch, size_t *bytes);

/* Makes a stream in memory that stays the caller's, and must not move, until clstm_stream_release. All rows are active
   and begin with the model's initial state. Packs the model's weights where no call has done so. flags: 0, or
   CLSTM_STREAM_KEEP_ENVIRONMENT. Memory of fewer bytes than clstm_stream_size says: CLSTM_INVALID_ARGUMENT. */
clstm_status clstm_stream_init(const clstm_model *model, size_t batch, int flags, void *memory, size_t bytes,
                               clstm_stream **stream);

/* Makes a stream of `batch` rows or more that goes on from where another one is, with its rows, flags and weights. */
clstm_status clstm_stream_fork(const clstm_stream *from, size_t batch, void *memory, size_t bytes,
                               clstm_stream **stream);

/* Takes the weights and the initial state that a model has now, of the same configuration; states stay. On failure the
   stream is as it was. */
clstm_status clstm_stream_refresh(clstm_stream *stream, const clstm_model *model);

/* Gives the weights back; then the memory is free. NULL is allowed. The model's allocator must still be there. */
void clstm_stream_release(clstm_stream *stream);

/* One step of all rows: x (rows, I), y (rows, O), or NULL: not wanted. y may be x where O = I. */
clstm_status clstm_stream_step(clstm_stream *stream, const float *x, float *y);
clstm_status clstm_stream_step_f64(clstm_stream *stream, const double *x, double *y);

/* Some steps: x (steps, rows, I), y (steps, rows, O) likewise. */
clstm_status clstm_stream_process(clstm_stream *stream, size_t steps, const float *x, float *y);
clstm_status clstm_stream_process_f64(clstm_stream *stream, size_t steps, const double *x, double *y);

/* Back to the initial state, all rows. */
clstm_status clstm_stream_reset(clstm_stream *stream);

/* Copies the state out or in: h (L, rows, R), c (L, rows, H), or NULL: not meant. */
clstm_status clstm_stream_get_state(const clstm_stream *stream, float *h, float *c);
clstm_status clstm_stream_get_state_f64(const clstm_stream *stream, double *h, double *c);
clstm_status clstm_stream_set_state(clstm_stream *stream, const float *h, const float *c);
clstm_status clstm_stream_set_state_f64(clstm_stream *stream, const double *h, const double *c);

/* How many rows are active: at first all. */
size_t clstm_stream_rows(const clstm_stream *stream);

/* One more row, at the initial state, the last one: *row is its number. CLSTM_INVALID_ARGUMENT where all are active. */
clstm_status clstm_stream_join(clstm_stream *stream, size_t *row);

/* One row less: the last one takes its place and number; no other moves. */
clstm_status clstm_stream_leave(clstm_stream *stream, size_t row);

/* ---- Activations ----------------------------------------------------------------------------------------- */

/* The core's own tanh and sigmoid over n elements, denormals flushed; y may be x. For programs that put layers
   around an LSTM, and for tests: at most 5 and 4 units in the last place (float64: 4). */
clstm_status clstm_tanh(size_t n, const float *x, float *y);
clstm_status clstm_tanh_f64(size_t n, const double *x, double *y);
clstm_status clstm_sigmoid(size_t n, const float *x, float *y);
clstm_status clstm_sigmoid_f64(size_t n, const double *x, double *y);

#ifdef __cplusplus
}
#endif

#endif /* CLSTM_H */

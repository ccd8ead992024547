/* clstm.h - run and train LSTMs on the CPU, from C, C++ and Cython.

   1. What a model computes

   For every layer, with x_t its input and h_{t-1}, c_{t-1} its state:

       i_t = sigmoid(W_i x_t + R_i h_{t-1} + b_i)      input gate
       f_t = sigmoid(W_f x_t + R_f h_{t-1} + b_f)      forget gate
       g_t = tanh   (W_g x_t + R_g h_{t-1} + b_g)      candidate cell
       o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)      output gate
       c_t = f_t * c_{t-1} + i_t * g_t                 cell state
       h_t = o_t * tanh(c_t)                           hidden state

   With a projection, h_t = weight_hr (o_t * tanh(c_t)) has R elements; without one, R = H. Layer k > 0 reads the h of
   layer k - 1. A bidirectional layer is two of these, one from the first step to the last and one from the last to the
   first; its h is the concatenation of theirs, forward first. With a readout, y_t = weight_out h_t + bias_out from the
   h of the last layer; without one, y_t is that h_t and O = D R.

       T   steps            I   input_size     R   proj_size, or H      D   directions, 1 or 2
       B   rows of a batch  H   hidden_size    L   num_layers           O   output_size, or D R

   Arrays are C-contiguous, aligned for their type, and do not alias unless a comment allows it. A part is one direction
   of one layer. In arrays of L D parts, direction d of layer k has index k D + d; of two directions, d = 1 is the
   reverse one.

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

   Sample by sample, in the caller's memory. After clstm_stream_init there is no allocation, lock or system call:

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

           clstm_model *model = NULL;      // all zero, unless a file of clstm.LSTM.save is given
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

   clstm_record is a clstm_forward that keeps the activations for clstm_backward. This model learns y_t = x_{t-1}:

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
           clstm_model_free(model);    // clstm_model_parameters(model) has the result
           return (int)status;
       }

   5. What a host can bring

   A clstm_context holds threads, an allocator and a BLAS, each of them optional. Only the engine "blas" (clstm_engine)
   calls a BLAS; without one it uses the library's own kernels:

       #include <stdio.h>
       #include <stdlib.h>
       #include <clstm.h>

       static void sgemm(const clstm_gemm *p)  // with CBLAS: cblas_sgemm(CblasRowMajor, p->transpose_a ? ...)
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
           context.team = clstm_pool_team(0);  // or a clstm_team around the host's own threads

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

   float32 is the default, and its functions have no suffix. Every function and struct that touches numbers has a
   float64 twin, which ends in _f64 and differs in nothing else.

   7. Structs and defaults

   Every struct is initialised by its CLSTM_..._INIT macro, which also records its size, so that later versions can add
   fields. Zero means the default in every field (but see the optimisers and clstm_around).

   8. Threads and ownership

   Any number of calls may share a model concurrently; only clstm_model_update, the steps of optimisers and
   clstm_model_free need exclusive access. A tape or a stream has one caller at a time. All other functions may be
   called from any number of threads. A call runs on the caller's thread unless the context has a team. Denormals are
   flushed during a call, and the caller's floating-point environment is restored when it returns.

   A process may fork while other threads are inside calls. The child can go on with the same models; what a thread was
   writing, which is a model in an update or a step, a tape or a stream, is undefined there.

   Arrays that a call reads or writes are owned by the caller and must stay valid until the call returns; comments say
   where longer. Objects that the library makes are freed by the caller: models by clstm_model_free, tapes by
   clstm_tape_free, streams by clstm_stream_release. */

#ifndef CLSTM_H
#define CLSTM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLSTM_VERSION_MAJOR 0
#define CLSTM_VERSION_MINOR 1
#define CLSTM_VERSION_PATCH 0

/* The version of the linked library, "major.minor.patch". Static, never NULL. */
const char *clstm_version(void);

/* ---- Errors ---------------------------------------------------------------------------------------------- */

/* The result of a call that can fail. Unless a comment says otherwise, nothing has been written if it is not
   CLSTM_OK. */
typedef enum clstm_status {
    CLSTM_OK = 0,
    CLSTM_INVALID_ARGUMENT, /* a required pointer is NULL, a struct's size is unknown, or an index is out of range */
    CLSTM_INVALID_CONFIG,   /* a size is zero, proj_size is not below hidden_size, a direction or function is unknown,
                               a number of the cell is negative or not finite, or fast activations of another cell */
    CLSTM_OVERFLOW,         /* the sizes exceed what memory can address */
    CLSTM_OUT_OF_MEMORY,    /* the allocator returned NULL */
    CLSTM_WRONG_DTYPE,      /* a float32 call on a float64 model or tape, or the reverse; fast activations in float64 */
    CLSTM_CANCELLED,        /* the context's cancelled() returned non-zero; outputs are undefined */
    CLSTM_TAPE_CONSUMED,    /* clstm_backward has already consumed this tape */
    CLSTM_MODEL_CHANGED,    /* the parameters changed between clstm_record and clstm_backward */
    CLSTM_NOT_CAUSAL,       /* a stream of a model with a reverse direction, which starts at the end */
    CLSTM_NO_GRADIENT,      /* clstm_record of a cell with a function that has no gradient here, or of
                               fast activations */
    CLSTM_UNKNOWN_ISA,      /* the environment's CLSTM_ISA names no instruction set that this CPU and build have */
    CLSTM_UNKNOWN_ENGINE,   /* the context's engine, or the environment's CLSTM_ENGINE, is not "packed" or "blas" */
    CLSTM_INVALID_FILE,     /* the file is malformed, or was not written by LSTM.save */
    CLSTM_FILE_ERROR,       /* the file cannot be opened or read; errno says why */
    CLSTM_STREAM_ONLY       /* the model has gains or a skip around it, which only streams play */
} clstm_status;

/* The message for a status: English, without a full stop. Static, never NULL. */
const char *clstm_strerror(clstm_status status);

/* ---- What the host supplies ------------------------------------------------------------------------------ */

/* A product of row-major matrices, C = op(A) op(B) or C += op(A) op(B). */
typedef struct clstm_gemm {
    size_t m, n, k;               /* op(A) is m x k, op(B) is k x n, C is m x n; k may be 0 */
    const float *a;               /* m x k, or k x m if transpose_a */
    const float *b;               /* k x n, or n x k if transpose_b */
    float *c;                     /* m x n; shares no memory with a or b */
    size_t lda, ldb, ldc;         /* elements between rows */
    int transpose_a, transpose_b; /* 0 or 1 */
    int accumulate;               /* 0: C is overwritten, whatever it contains; 1: the product is added to C */
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

/* Threads that work together. run() calls task(argument, index, count) once for every index < count, all concurrently
   and index 0 on the caller's thread, and returns when all have returned. It chooses count, from 1 to `wanted`. */
typedef struct clstm_team {
    size_t size;
    size_t threads; /* the largest count that run() will choose; 0 or 1: run() is not called */
    void (*run)(void *user, size_t wanted, void (*task)(void *argument, size_t index, size_t count), void *argument);
    void *user; /* passed to run() */
} clstm_team;
#define CLSTM_TEAM_INIT {sizeof(clstm_team), 0, NULL, NULL}

/* A team of at most `threads` threads (0: clstm_default_threads()): the caller's, and helpers that the library makes
   when a call first needs them and keeps for later calls. A run has fewer threads if the system refuses to make them
   or does not run them in time, and a single one while another run of this team has the helpers. A forked child makes
   helpers of its own. Helpers handle no signals, run on the CPUs that the caller may use, and sleep a millisecond
   after the last call.

   On Linux the pool sets the CPU affinity of its helpers: to the caller's, without the CPU that the caller runs on. If
   a helper has lost its CPU and the caller waits for it, the helper gets the caller's CPU, and the caller sleeps, for
   0.2 ms at most.

   Calls with this team link no OpenMP runtime. */
clstm_team clstm_pool_team(size_t threads);

/* The same with the threads of an OpenMP runtime. It runs a single thread if the library was built without OpenMP, in a
   forked child, inside a parallel region, or while another run of this team does. */
clstm_team clstm_openmp_team(size_t threads);

/* The smallest of OMP_NUM_THREADS (if set), the number of CPUs in the affinity mask and the cgroup's quota; at least
   1. Each call reads the affinity mask of its thread, the quota at most once a second, and OMP_NUM_THREADS once. */
size_t clstm_default_threads(void);

/* 1 if the library was built with OpenMP, else 0. */
int clstm_has_openmp(void);

/* Threads, memory and BLAS of a host, for all its calls. A NULL context has all defaults. */
typedef struct clstm_context {
    size_t size;

    /* Row-major matrix products of the engine "blas" (clstm_engine), called concurrently from several threads with
       disjoint C. NULL: the library's own. */
    void (*sgemm)(const clstm_gemm *product);
    void (*dgemm)(const clstm_gemm_f64 *product);

    /* `allocate` returns memory aligned for any C type, or NULL if there is none. Both NULL: malloc and free. A model
       or tape is released by the allocator that made it. From its allocator a model also takes its packed weights,
       built by the first call, and the workspace of a pass, kept for the next one. */
    void *(*allocate)(void *user, size_t bytes);
    void (*release)(void *user, void *block);

    /* Polled by the caller's thread about every 50 ms; non-zero ends the call with CLSTM_CANCELLED. */
    int (*cancelled)(void *user);

    void *user; /* passed to allocate, release and cancelled */

    clstm_team team; /* default: the caller's thread alone */

    const char *engine; /* of its passes: "packed" or "blas". NULL: clstm_engine() */
} clstm_context;
#define CLSTM_CONTEXT_INIT {sizeof(clstm_context), NULL, NULL, NULL, NULL, NULL, NULL, CLSTM_TEAM_INIT, NULL}

/* ---- What computes --------------------------------------------------------------------------------------- */

/* The kernels in use: "generic", "avx2", "avx512" or "neon". Chosen once: those that the environment's CLSTM_ISA names,
   or the best for this CPU. NULL if CLSTM_ISA names none that this CPU and build have. */
const char *clstm_isa(void);

/* The valid names for CLSTM_ISA on this CPU, best first, terminated by NULL. Static. */
const char *const *clstm_isa_list(void);

/* The engine of contexts that name none. Chosen once: the one that the environment's CLSTM_ENGINE names, or "packed".
   NULL if CLSTM_ENGINE names none. Streams are always packed.

   "packed" fuses products and gates tile by tile, on weights that are packed once for each version of a model. It calls
   no BLAS. Its forward results are bit-identical for any number of threads, any batch, and any division of a sequence
   into calls.

   "blas" uses the context's gemm for every product. It is the plain second opinion, equal up to rounding. */
const char *clstm_engine(void);

/* The names of the engines, terminated by NULL. Static. */
const char *const *clstm_engine_list(void);

/* ---- Models ---------------------------------------------------------------------------------------------- */

/* The direction in time. The reverse direction starts at each row's own last step. */
typedef enum clstm_direction {
    CLSTM_FORWARD = 0,
    CLSTM_REVERSE = 1,
    CLSTM_BIDIRECTIONAL = 2 /* both: D = 2 */
} clstm_direction;

/* An activation function of the cell. Functions up to CLSTM_RELU have gradients, the others are for inference only.
   alpha and beta are used where the formula has them, and have no defaults. Source: the ONNX operator LSTM, whose
   defaults are in brackets. */
typedef enum clstm_function {
    CLSTM_DEFAULT = 0,      /* CLSTM_SIGMOID for gates, else CLSTM_TANH */
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

/* A cell other than the one of section 1, which is all zero. With peepholes p,

       i_t = gate(W_i x_t + R_i h_{t-1} + b_i + p_i * c_{t-1})
       f_t = gate(W_f x_t + R_f h_{t-1} + b_f + p_f * c_{t-1}),  or 1 - i_t if coupled
       g_t = cell(W_g x_t + R_g h_{t-1} + b_g)
       c_t = f_t * c_{t-1} + i_t * g_t
       o_t = gate(W_o x_t + R_o h_{t-1} + b_o + p_o * c_t)
       h_t = o_t * hidden(c_t)

   where each gate's sum and c_t may be clipped. The cell of section 1 runs on kernels of its own, also if its
   functions are named explicitly. */
typedef struct clstm_cell {
    int peephole;     /* 1: with weight_peephole_l{k} */
    int coupled;      /* 1: the forget gate's parameters are not used, and their gradients are zero */
    double clip;      /* every gate's sum is clipped to [-clip, clip] before its function; 0: not clipped */
    double cell_clip; /* c_t is clipped to [-cell_clip, cell_clip]; 0: not clipped */
    clstm_activation gate, cell, hidden;
} clstm_cell;
#define CLSTM_CELL_INIT {0, 0, 0, 0, {CLSTM_DEFAULT, 0, 0}, {CLSTM_DEFAULT, 0, 0}, {CLSTM_DEFAULT, 0, 0}}

/* How exact the sigmoid and the tanh of the plain cell are. */
typedef enum clstm_activations {
    CLSTM_ACCURATE = 0, /* within 5 ULP */
    CLSTM_FAST          /* within 1e-5: float32 and the plain cell only; no gradients. The same bits on every CPU with
                           fused multiply-adds */
} clstm_activations;

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
    clstm_activations activations;
} clstm_config;
#define CLSTM_CONFIG_INIT {sizeof(clstm_config), 0, 0, 0, 0, 0, CLSTM_FORWARD, 0, 0, CLSTM_CELL_INIT, CLSTM_ACCURATE}

/* One named tensor of the flat parameter array. Gates are stacked along the rows: i, f, g, o. */
typedef struct clstm_parameter {
    char name[48];  /* for every layer k: weight_ih_l{k} (4H, I or D R), weight_hh_l{k} (4H, R), bias_l{k} (4H,),
                       weight_hr_l{k} (R, H), weight_peephole_l{k} (3H,) with i, f, o; then the same with "_reverse" for
                       the reverse direction; after all layers weight_out (O, D R), bias_out (O,), h0 (L D, R),
                       c0 (L D, H) */
    size_t rows;
    size_t columns; /* 0: one-dimensional */
    size_t offset;  /* of its first element in the flat array */
} clstm_parameter;

/* The number of tensors of a model of this configuration, and the number of their elements together. */
clstm_status clstm_config_count(const clstm_config *config, size_t *tensors, size_t *elements);

/* The tensor with this index, which is below the number of tensors. */
clstm_status clstm_config_parameter(const clstm_config *config, size_t index, clstm_parameter *parameter);

/* A model: its configuration and parameters. Only clstm_model_update and the steps of optimisers change it. */
typedef struct clstm_model clstm_model;

/* Makes a model with a copy of the flat array `parameters` (clstm_config_count elements; NULL: all zero). On failure
   *model is NULL. Freed by clstm_model_free. The context's allocator must outlive the model. */
clstm_status clstm_model_create(const clstm_config *config, const float *parameters, const clstm_context *context,
                                clstm_model **model);
clstm_status clstm_model_create_f64(const clstm_config *config, const double *parameters,
                                    const clstm_context *context, clstm_model **model);

/* Makes a model on the caller's flat array, which the model uses without a copy, and which must stay until
   clstm_model_free. After writing to the array, with exclusive access to the model, call clstm_model_touch. */
clstm_status clstm_model_create_on(const clstm_config *config, float *parameters, const clstm_context *context,
                                   clstm_model **model);
clstm_status clstm_model_create_on_f64(const clstm_config *config, double *parameters, const clstm_context *context,
                                       clstm_model **model);
clstm_status clstm_model_touch(clstm_model *model);

/* Replaces all parameters by a copy of the flat array. Needs exclusive access to the model. */
clstm_status clstm_model_update(clstm_model *model, const float *parameters);
clstm_status clstm_model_update_f64(clstm_model *model, const double *parameters);

/* The model's flat array, read-only; valid until clstm_model_free. NULL if the model is NULL or of the other type. */
const float *clstm_model_parameters(const clstm_model *model);
const double *clstm_model_parameters_f64(const clstm_model *model);

/* Frees the model; NULL is allowed. No call may be using it, and its tapes may afterwards only be freed. */
void clstm_model_free(clstm_model *model);

/* ---- Models from files ----------------------------------------------------------------------------------- */

/* Makes a model from a safetensors file of LSTM.save, with the file's type and configuration, which clstm_model_is_f64
   and clstm_model_config return. batch_first is ignored: arrays in C are always (T, B, .). From a file of
   Sequential.save, if its layers are an LSTM, a skip of its first feature around it or not, and a gain before and after
   them or not: clstm_model_around returns these. Other files of Sequential.save are CLSTM_INVALID_FILE.

   The model owns copies of all numbers and is freed like any other. On failure *model is NULL, and the status is
   CLSTM_INVALID_ARGUMENT, CLSTM_INVALID_FILE, CLSTM_OUT_OF_MEMORY or, for a path only, CLSTM_FILE_ERROR.

   Files may be hostile: everything in them is checked. Memory is bounded by twice the size of the file plus a constant,
   and comes from the context's allocator (except the buffer of the C library's FILE). The JSON header may have up to
   16 MiB. Any number of calls may run concurrently. Little-endian hosts only; on others every file is
   CLSTM_INVALID_FILE. */

/* From the contents of a file in memory, of any alignment. They must not change during the call, and are not needed
   after it. */
clstm_status clstm_model_from_bytes(const void *bytes, size_t size, const clstm_context *context,
                                    clstm_model **model);

/* From a file by its path. The file must be seekable. */
clstm_status clstm_model_from_file(const char *path, const clstm_context *context, clstm_model **model);

/* 1 if the model's numbers are float64, else 0; 0 for NULL. */
int clstm_model_is_f64(const clstm_model *model);

/* The configuration, with num_layers at least 1; valid until clstm_model_free. NULL for NULL. */
const clstm_config *clstm_model_config(const clstm_model *model);

/* What a stream plays around the LSTM, as amplifier models need it. With u = input_gain x and the LSTM's output f,

       y[o] = output_gain (f(u)[o] + skip u[0])  for every output o

   A model with other values than those of CLSTM_AROUND_INIT is for streams: clstm_forward and clstm_record return
   CLSTM_STREAM_ONLY. */
typedef struct clstm_around {
    size_t size;
    double input_gain, skip, output_gain; /* finite */
} clstm_around;
#define CLSTM_AROUND_INIT {sizeof(clstm_around), 1, 0, 1}

/* Needs exclusive access to the model. Streams adopt it when they are made, and by clstm_stream_refresh if they were
   made of a model with other values than those of CLSTM_AROUND_INIT, too. CLSTM_INVALID_ARGUMENT if a number is not
   finite. */
clstm_status clstm_model_set_around(clstm_model *model, const clstm_around *around);

/* Valid until clstm_model_free. NULL for NULL. */
const clstm_around *clstm_model_around(const clstm_model *model);

/* ---- Forward --------------------------------------------------------------------------------------------- */

/* What clstm_record keeps, and how much memory a tape takes. */
typedef enum clstm_keep {
    CLSTM_KEEP_GATES = 0, /* gates and states: about (I + 6 L D H) T B elements */
    CLSTM_KEEP_STATES = 1 /* states only: about (I + 2 L D H) T B; clstm_backward recomputes the gates, equal up to
                             rounding */
} clstm_keep;

/* The arrays of one call, all owned by the caller. T = 0, B = 0 and lengths of 0 are allowed: the state passes through
   unchanged.

   Sequences are (T, B, .). After the end of a row that is shorter than T, x is not read and y is set to zero. Ragged
   sequences have no padding: they are (sum of lengths, .), the steps of one row followed by those of the next. */
typedef struct clstm_sequence {
    size_t size;
    size_t steps; /* T */
    size_t batch; /* B */
    const float *x;  /* (T, B, I); may be NULL if T * B = 0 */
    const float *h0; /* (L D, B, R) initial hidden state, or NULL: the model's own, or zero */
    const float *c0; /* (L D, B, H) initial cell state, or NULL: the model's own, or zero */
    float *y;        /* (T, B, O), or NULL: not wanted; must not overlap what is read */
    float *hn;       /* (L D, B, R) hidden state after each row's last step, or NULL: not wanted; may be h0 */
    float *cn;       /* (L D, B, H) cell state likewise, or NULL: not wanted; may be c0 */
    clstm_keep keep; /* clstm_record only */
    const size_t *lengths; /* (B,) steps of each row, in any order, at most T; or NULL: all rows have T steps */
    int ragged;            /* 1: no padding; T then only limits the lengths */
    /* clstm_record only: factors of 0 or 1 / (1 - p), where p is the probability of a 0. They must stay valid until
       clstm_backward has returned. */
    const float *dropout;           /* (L - 1, T, B, D R) for each layer's h as the next layer's input, or NULL */
    const float *recurrent_dropout; /* (L D, B, R) for h_{t-1} in the gates, the same at all steps, or NULL */
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

/* Runs a model over a sequence. */
clstm_status clstm_forward(const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context);
clstm_status clstm_forward_f64(const clstm_model *model, const clstm_sequence_f64 *sequence,
                               const clstm_context *context);

/* ---- Training -------------------------------------------------------------------------------------------- */

/* A recorded forward pass: a copy of x, and what clstm_keep says. It has one caller at a time. */
typedef struct clstm_tape clstm_tape;

/* The arrays that can be read from a tape, for one part at a time. */
typedef enum clstm_tape_field {
    CLSTM_INPUT_GATE = 0,  /* i_t, (T, B, H) */
    CLSTM_FORGET_GATE = 1, /* f_t, (T, B, H) */
    CLSTM_CELL_GATE = 2,   /* g_t, (T, B, H) */
    CLSTM_OUTPUT_GATE = 3, /* o_t, (T, B, H) */
    CLSTM_CELL_STATE = 4,  /* c_t, (T, B, H) */
    CLSTM_HIDDEN_STATE = 5 /* h_t, (T, B, R) */
} clstm_tape_field;

/* Runs clstm_forward and records it for clstm_backward (sequence->keep). On failure *tape is NULL. Freed by
   clstm_tape_free. */
clstm_status clstm_record(const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context,
                          clstm_tape **tape);
clstm_status clstm_record_f64(const clstm_model *model, const clstm_sequence_f64 *sequence,
                              const clstm_context *context, clstm_tape **tape);

/* Copies one field, which the tape must have kept, of part k D + d. Element (t, b, j) goes to
   out[(t B + b) row_stride + j], zero after a row's end; ragged sequences are laid out like y. */
clstm_status clstm_tape_read(const clstm_tape *tape, clstm_tape_field field, size_t part, float *out,
                             size_t row_stride);
clstm_status clstm_tape_read_f64(const clstm_tape *tape, clstm_tape_field field, size_t part, double *out,
                                 size_t row_stride);

/* Gradients of a loss: dy, dhn and dcn are inputs, the others outputs. dy and dx are laid out like y and x. After a
   row's end dy is not read, and dx is set to zero. */
typedef struct clstm_gradients {
    size_t size;
    const float *dy;   /* (T, B, O), or NULL: zero */
    const float *dhn;  /* (L D, B, R), or NULL: zero */
    const float *dcn;  /* (L D, B, H), or NULL: zero */
    float *dx;         /* (T, B, I), or NULL: not computed */
    float *dh0;        /* (L D, B, R), or NULL: not wanted */
    float *dc0;        /* (L D, B, H), or NULL: not wanted */
    float *parameters; /* flat, like the model's; or NULL: not computed */
    int accumulate; /* 1: adds to `parameters`, as for truncated backpropagation; 0: overwrites it */
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

/* Backpropagation through time. Consumes the tape, also if cancelled: afterwards it can only be freed. The tape is
   unchanged if the call is refused or runs out of memory. */
clstm_status clstm_backward(clstm_tape *tape, const clstm_gradients *gradients, const clstm_context *context);
clstm_status clstm_backward_f64(clstm_tape *tape, const clstm_gradients_f64 *gradients,
                                const clstm_context *context);

/* Frees the tape; NULL is allowed. */
void clstm_tape_free(clstm_tape *tape);

/* ---- Optimisers ------------------------------------------------------------------------------------------ */

/* A step changes a model in place, whose flat array has clstm_config_count elements, and needs exclusive access to it.
   An update does the same to n parameters of the caller's own: those of a layer beside a model, or some of a model made
   by clstm_model_create_on. Gradients are those of clstm_backward, or the caller's. The optimiser's state (m and v, or
   velocity) is owned by the caller, and is zero before the first step. Arrays must not overlap. In the settings zero
   means zero: the INIT macros hold the usual values. */

/* Adam. For a gradient g and step t, counted from 1:

       m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
       p = p - lr weight_decay p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

   D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1; weight decay: I. Loshchilov,
   F. Hutter, "Decoupled weight decay regularization", 2019, algorithm 2. */
typedef struct clstm_adam {
    size_t size;
    size_t step; /* t, at least 1 */
    double lr;
    double beta1, beta2;
    double eps;
    double weight_decay;
} clstm_adam;
#define CLSTM_ADAM_INIT {sizeof(clstm_adam), 1, 1e-3, 0.9, 0.999, 1e-8, 0}

clstm_status clstm_adam_step(clstm_model *model, const clstm_adam *adam, const float *gradients, float *m, float *v,
                             const clstm_context *context);
clstm_status clstm_adam_step_f64(clstm_model *model, const clstm_adam *adam, const double *gradients, double *m,
                                 double *v, const clstm_context *context);

clstm_status clstm_adam_update(size_t n, const clstm_adam *adam, float *parameters, const float *gradients, float *m,
                               float *v, const clstm_context *context);
clstm_status clstm_adam_update_f64(size_t n, const clstm_adam *adam, double *parameters, const double *gradients,
                                   double *m, double *v, const clstm_context *context);

/* Gradient descent with momentum: velocity = momentum velocity + g, p = p - lr weight_decay p - lr velocity. */
typedef struct clstm_sgd {
    size_t size;
    double lr;
    double momentum;
    double weight_decay;
} clstm_sgd;
#define CLSTM_SGD_INIT {sizeof(clstm_sgd), 1e-2, 0, 0}

clstm_status clstm_sgd_step(clstm_model *model, const clstm_sgd *sgd, const float *gradients, float *velocity,
                            const clstm_context *context);
clstm_status clstm_sgd_step_f64(clstm_model *model, const clstm_sgd *sgd, const double *gradients, double *velocity,
                                const clstm_context *context);
clstm_status clstm_sgd_update(size_t n, const clstm_sgd *sgd, float *parameters, const float *gradients,
                              float *velocity, const clstm_context *context);
clstm_status clstm_sgd_update_f64(size_t n, const clstm_sgd *sgd, double *parameters, const double *gradients,
                                  double *velocity, const clstm_context *context);

/* Scales n gradients by one factor, so that their norm is at most max_norm > 0. *norm is the norm before, summed in
   double; if it is infinite or NaN, nothing is scaled.
   R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", 2013, algorithm 1. */
clstm_status clstm_clip_global_norm(size_t n, float *gradients, double max_norm, double *norm,
                                    const clstm_context *context);
clstm_status clstm_clip_global_norm_f64(size_t n, double *gradients, double max_norm, double *norm,
                                        const clstm_context *context);

/* ---- Streams --------------------------------------------------------------------------------------------- */

/* Sequences that arrive step by step, in the caller's memory. After clstm_stream_init the functions of a stream never
   allocate, lock, wait, start a thread or make a system call, except clstm_stream_refresh and clstm_stream_release. So
   an audio callback may use them. Results are bit-identical to one clstm_forward over the whole sequence by the packed
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

   The rows of a stream are sequences that advance together, like those of a batch: each step reads (rows, I) and writes
   (rows, O). A stream has one caller at a time; any number of streams may run concurrently. It keeps its weights even
   if the model is updated or freed. Models with a reverse direction have no streams. */
typedef struct clstm_stream clstm_stream;

/* A flag for hosts that flush denormals themselves: the floating-point environment is left alone. Without it, each call
   of clstm_stream_step and clstm_stream_process flushes denormals and restores the caller's environment. */
#define CLSTM_STREAM_KEEP_ENVIRONMENT 1

/* The bytes of a stream of `batch` >= 1 rows, at any address. */
clstm_status clstm_stream_size(const clstm_model *model, size_t batch, size_t *bytes);

/* Makes a stream in `memory`, which the caller owns and must neither move nor free before clstm_stream_release. All
   rows are active and start from the model's initial state. Packs the model's weights if no call has done so yet.
   flags: 0 or CLSTM_STREAM_KEEP_ENVIRONMENT. CLSTM_INVALID_ARGUMENT if `bytes` is less than clstm_stream_size says. On
   failure *stream is NULL. */
clstm_status clstm_stream_init(const clstm_model *model, size_t batch, int flags, void *memory, size_t bytes,
                               clstm_stream **stream);

/* Makes a stream that continues from the present state of another one, with its active rows, flags and weights.
   `batch`, at least clstm_stream_rows(from), is the most rows it can have; memory as for clstm_stream_init. */
clstm_status clstm_stream_fork(const clstm_stream *from, size_t batch, void *memory, size_t bytes,
                               clstm_stream **stream);

/* Adopts the present weights and initial state of a model, whose configuration must be the stream's. States are kept.
   On failure the stream is unchanged. */
clstm_status clstm_stream_refresh(clstm_stream *stream, const clstm_model *model);

/* Releases the weights; afterwards the caller may free the memory. NULL is allowed. The model's allocator must still
   exist. */
void clstm_stream_release(clstm_stream *stream);

/* One step of all active rows: x (rows, I), y (rows, O), or NULL: not wanted. y may be x if O = I. */
clstm_status clstm_stream_step(clstm_stream *stream, const float *x, float *y);
clstm_status clstm_stream_step_f64(clstm_stream *stream, const double *x, double *y);

/* Several steps: x (steps, rows, I), y (steps, rows, O) likewise. */
clstm_status clstm_stream_process(clstm_stream *stream, size_t steps, const float *x, float *y);
clstm_status clstm_stream_process_f64(clstm_stream *stream, size_t steps, const double *x, double *y);

/* Resets all active rows to the initial state. */
clstm_status clstm_stream_reset(clstm_stream *stream);

/* Copy the state out or in: h (L, rows, R), c (L, rows, H); NULL: skipped. */
clstm_status clstm_stream_get_state(const clstm_stream *stream, float *h, float *c);
clstm_status clstm_stream_get_state_f64(const clstm_stream *stream, double *h, double *c);
clstm_status clstm_stream_set_state(clstm_stream *stream, const float *h, const float *c);
clstm_status clstm_stream_set_state_f64(clstm_stream *stream, const double *h, const double *c);

/* The number of active rows; at first all. */
size_t clstm_stream_rows(const clstm_stream *stream);

/* Adds a row after the others, in the initial state; *row is its index. CLSTM_INVALID_ARGUMENT if all rows are
   active. */
clstm_status clstm_stream_join(clstm_stream *stream, size_t *row);

/* Removes a row. The last row takes its index; no other row moves. */
clstm_status clstm_stream_leave(clstm_stream *stream, size_t row);

/* ---- Activations ----------------------------------------------------------------------------------------- */

/* The core's tanh and sigmoid of n elements, with denormals flushed; y may be x. For layers around an LSTM, and for
   tests. Errors are at most 5 and 4 units in the last place (float64: 4). */
clstm_status clstm_tanh(size_t n, const float *x, float *y);
clstm_status clstm_tanh_f64(size_t n, const double *x, double *y);
clstm_status clstm_sigmoid(size_t n, const float *x, float *y);
clstm_status clstm_sigmoid_f64(size_t n, const double *x, double *y);

#ifdef __cplusplus
}
#endif

#endif /* CLSTM_H */

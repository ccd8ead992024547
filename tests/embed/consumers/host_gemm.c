/* Runs a training step with a host's gemm, and prints whether it was called. */
#include <clstm.h>
#include <stdio.h>

enum { T = 7, B = 3, I = 2, H = 5 };

static size_t calls;

static void sgemm(const clstm_gemm *p) {
    calls++;
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            float sum = p->accumulate ? p->c[i * p->ldc + j] : 0;
            for (size_t k = 0; k < p->k; k++)
                sum += p->a[p->transpose_a ? k * p->lda + i : i * p->lda + k]
                       * p->b[p->transpose_b ? j * p->ldb + k : k * p->ldb + j];
            p->c[i * p->ldc + j] = sum;
        }
    }
}

int main(void) {
    static float x[T * B * I], dy[T * B * H], dx[T * B * I];
    clstm_context context = CLSTM_CONTEXT_INIT;
    clstm_config config = CLSTM_CONFIG_INIT;
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    clstm_gradients gradients = CLSTM_GRADIENTS_INIT;
    clstm_model *model = NULL;
    clstm_tape *tape = NULL;
    context.sgemm = sgemm;
    config.input_size = I;
    config.hidden_size = H;
    sequence.steps = T;
    sequence.batch = B;
    sequence.x = x;
    gradients.dy = dy;
    gradients.dx = dx;
    clstm_status status = clstm_model_create(&config, NULL, &context, &model);
    if (!status) status = clstm_record(model, &sequence, &context, &tape);
    if (!status) status = clstm_backward(tape, &gradients, &context);
    printf("%s: %s\n", clstm_strerror(status), calls ? "called" : "not called");
    clstm_tape_free(tape);
    clstm_model_free(model);
    return (int)status;
}

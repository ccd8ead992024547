/* Applies the core's tanh or sigmoid to numbers from stdin, and writes to stdout: activations tanh|sigmoid f32|f64. */
#include <clstm.h>
#include <stdio.h>
#include <string.h>

static clstm_status apply(int is_tanh, int is_f64, size_t n, void *numbers) {
    if (is_f64) return (is_tanh ? clstm_tanh_f64 : clstm_sigmoid_f64)(n, numbers, numbers);
    return (is_tanh ? clstm_tanh : clstm_sigmoid)(n, numbers, numbers);
}

int main(int argc, char **argv) {
    static double block[1 << 13]; /* doubles, for the alignment */
    if (argc != 3) return 1;
    const int is_tanh = !strcmp(argv[1], "tanh"), is_f64 = !strcmp(argv[2], "f64");
    const size_t element = is_f64 ? sizeof(double) : sizeof(float);
    size_t n;
    while ((n = fread(block, element, sizeof block / element, stdin)) > 0) {
        if (apply(is_tanh, is_f64, n, block)) return 1;
        if (fwrite(block, element, n, stdout) != n) return 1;
    }
    return 0;
}

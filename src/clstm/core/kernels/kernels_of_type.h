/* All kernels of one type, and their table. */
#include "cell_variants.h"
#include "gates.h"
#include "gemm.h"
#include "optimisers.h"
#include "packed_product.h"
#include "steps.h"
#include "sums.h"

#define KERNEL_MAP(function)                                                            \
    static void TYPED(map_##function)(size_t n, const real *x, real *y) {               \
        for (size_t j = 0; j < n; j += TYPED(LANES)) {                                  \
            const size_t count = n - j < TYPED(LANES) ? n - j : TYPED(LANES);           \
            TYPED(store_n)(y + j, TYPED(function)(TYPED(load_n)(x + j, count)), count); \
        }                                                                               \
    }
KERNEL_MAP(tanh)
KERNEL_MAP(sigmoid)
#undef KERNEL_MAP

static const TYPED(clstm_i_kernels) TYPED(kernels) = {
    TYPED(LANES), TYPED(multiply), TYPED(gemm), TYPED(steps), TYPED(skewed_steps), TYPED(steps_backward),
    TYPED(gates), TYPED(gates_backward),
    TYPED(cell_steps), TYPED(cell_steps_backward), TYPED(cell_gates), TYPED(cell_gates_backward), TYPED(find_ranges),
    TYPED(sum_rows), TYPED(sum_products), TYPED(map_tanh), TYPED(map_sigmoid),
    TYPED(adam), TYPED(sgd), TYPED(sum_squares), TYPED(scale),
};

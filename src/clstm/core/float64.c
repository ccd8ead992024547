/* All passes in float64. */
#define CLSTM_FLOAT64 1
#include "passes/apply_activations.h"
#include "passes/backward_loop.h"
#include "passes/forward_loop.h"
#include "passes/optimisers.h"
#include "passes/stream.h"

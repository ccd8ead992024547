/* The headers that every pass needs, and `real`: a double in float64.c, which defines CLSTM_FLOAT64; else a float. */
#pragma once

#include "../dispatch.h"
#include "../fp_environment.h"
#include "../schedule.h"
#include "../stream_base.h"
#include "../tape_base.h"

#include <math.h>
#include <string.h>

#if CLSTM_FLOAT64
#include "../real_f64.h"
#else
#include "../real_f32.h"
#endif

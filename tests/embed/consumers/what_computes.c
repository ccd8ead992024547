/* Prints the kernels and the engine in use, or which name in the environment is unknown. */
#include <clstm.h>
#include <stdio.h>

int main(void) {
    const char *isa = clstm_isa(), *engine = clstm_engine();
    if (!isa) puts(clstm_strerror(CLSTM_UNKNOWN_ISA));
    else if (!engine) puts(clstm_strerror(CLSTM_UNKNOWN_ENGINE));
    else printf("%s %s\n", isa, engine);
    return isa && engine ? 0 : 1;
}

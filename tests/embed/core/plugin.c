/* A plug-in with a pool of its own, or, with HOST defined, a host that loads and unloads it. */
#ifdef HOST
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **arguments) {
    size_t most = 0;
    for (int round = 0; count == 2 && round < 20; round++) {
        void *plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        size_t (*use)(void) = plugin ? (size_t (*)(void))dlsym(plugin, "use") : NULL;
        if (!use) return 1;
        const size_t threads = use();
        if (threads > most) most = threads;
        if (dlclose(plugin) || dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD)) return 2;
    }
    printf("%s\n", most > 1 ? "unloaded" : "no helper ever came");
    return 0;
}
#else
#include "team.h"

#include <time.h>

static void task(void *argument, size_t index, size_t count) {
    if (!index) *(size_t *)argument = count;
}

__attribute__((visibility("default"))) size_t use(void) {
    const clstm_team team = clstm_pool_team(3);
    size_t most = 0;
    for (int k = 0; k < 20 || (most < 2 && k < 200); k++) {
        const struct timespec pause = {0, k < 20 ? 0 : 1000000}; /* a busy machine: helpers rest after they were late */
        size_t threads = 0;
        nanosleep(&pause, NULL);
        team.run(team.user, 3, task, &threads);
        if (threads > most) most = threads;
    }
    return most;
}
#endif

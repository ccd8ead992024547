/* A CPU for each thread of a team: finds a free one, and moves there. */
#define _GNU_SOURCE /* sched_getcpu, sched_setaffinity */
#include "seats.h"

#if defined(__linux__)
#include <sched.h>

static int is_taken(const clstm_i_seats *seats, int cpu) {
    return (int)(atomic_load_explicit(&seats->taken[cpu / 64], memory_order_relaxed) >> (cpu % 64) & 1);
}

int clstm_i_take_seat(clstm_i_seats *seats) {
    const int cpu = sched_getcpu();
    if (cpu < 0 || cpu >= CLSTM_I_SEATS) return 1;
    const unsigned long long bit = 1ULL << (cpu % 64);
    return !(atomic_fetch_or_explicit(&seats->taken[cpu / 64], bit, memory_order_relaxed) & bit);
}

static void change_seat(clstm_i_seats *seats) {
    cpu_set_t own, others;
    if (sched_getaffinity(0, sizeof own, &own)) return;
    CPU_ZERO(&others);
    for (int cpu = 0; cpu < CLSTM_I_SEATS; cpu++)
        if (CPU_ISSET(cpu, &own) && !is_taken(seats, cpu)) CPU_SET(cpu, &others);
    if (!CPU_COUNT(&others) || sched_setaffinity(0, sizeof others, &others)) return;
    sched_setaffinity(0, sizeof own, &own);
    clstm_i_take_seat(seats);
}

void clstm_i_find_seat(clstm_i_seats *seats) {
    if (!clstm_i_take_seat(seats)) change_seat(seats);
}
#else
int clstm_i_take_seat(clstm_i_seats *seats) { return (void)seats, 1; }
void clstm_i_find_seat(clstm_i_seats *seats) { (void)seats; }
#endif

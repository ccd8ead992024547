/* A team as a host without OpenMP may supply it: POSIX threads that every run starts and joins. */
#ifndef CREW_H
#define CREW_H

#include "environment.h"

#include <clstm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { CREW_LIMIT = 64 };

typedef void crew_task(void *argument, size_t index, size_t count);

typedef struct crew {
    size_t size;
    size_t used;      /* threads of the largest run so far */
    size_t disturbed; /* tasks that left their thread's floating-point environment changed */
} crew;

typedef struct crew_member {
    pthread_t thread;
    crew_task *task;
    void *argument;
    size_t index, count;
    int disturbed;
} crew_member;

static void *crew_work(void *argument) {
    crew_member *member = argument;
    const uint64_t before = environment();
    member->task(member->argument, member->index, member->count);
    member->disturbed = environment() != before;
    return NULL;
}

static void crew_run(void *user, size_t wanted, crew_task *task, void *argument) {
    crew *self = user;
    crew_member members[CREW_LIMIT];
    const size_t count = wanted < self->size ? wanted : self->size;
    for (size_t k = count; k-- > 0;) { /* the caller last, as it works itself */
        members[k] = (crew_member){.task = task, .argument = argument, .index = k, .count = count};
        if (k == 0) crew_work(&members[0]);
        else if (pthread_create(&members[k].thread, NULL, crew_work, &members[k])) {
            fprintf(stderr, "cannot start a thread\n");
            exit(2);
        }
    }
    for (size_t k = 0; k < count; k++) {
        if (k) pthread_join(members[k].thread, NULL);
        self->disturbed += (size_t)members[k].disturbed;
    }
    if (count > self->used) self->used = count;
}

static clstm_team crew_team(crew *self) {
    clstm_team team = CLSTM_TEAM_INIT;
    if (self->size > CREW_LIMIT) self->size = CREW_LIMIT;
    team.threads = self->size;
    team.run = crew_run;
    team.user = self;
    return team;
}

#endif

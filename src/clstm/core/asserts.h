/* clstm_i_assert(condition): in debug and sanitizer builds, which define CLSTM_ASSERT, a false condition ends the
   process with its text and place. Other builds do not evaluate it. */
#pragma once

#if CLSTM_ASSERT
#pragma GCC visibility push(hidden)
_Noreturn void clstm_i_assert_failed(const char *condition, const char *file, int line); /* status.c */
#pragma GCC visibility pop
#define clstm_i_assert(condition) ((condition) ? (void)0 : clstm_i_assert_failed(#condition, __FILE__, __LINE__))
#else
#define clstm_i_assert(condition) ((void)sizeof(!(condition)))
#endif

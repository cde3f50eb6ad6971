// A wall clock that is OFFSET_S seconds ahead of the machine's, for everything that is started with this in LD_PRELOAD
// (make test-on). Clocks that only measure how long something takes are left alone.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *out) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(clock, out);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec += OFFSET_S;
  return failed;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  (void)zone;  // obsolete, and nobody asks for it
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

// The kernel knows nothing of the offset: a moment to wait for is translated back.
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  static int (*real)(sem_t *, const struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "sem_timedwait");
  struct timespec moment = {until->tv_sec - OFFSET_S, until->tv_nsec};
  return real(semaphore, &moment);
}

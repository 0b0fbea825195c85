/* Preloaded under one program: its clocks run as a file says, all else on the machine is right.
 *
 * The file (CLOCKS_FILE) holds three doubles, read at each call: `step`, seconds that the wall
 * clock is ahead; `rate`, at which all its clocks run; `anchor`, the monotonic time from which
 * they do. How long it waits follows. System calls are made directly: programs that ask for the
 * time while their memory allocator starts (named) have no symbols to look up yet.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

struct clocks {
	double step, rate, anchor;
};

static volatile struct clocks *clocks;

__attribute__((constructor)) static void begin(void) {
	const char *path = getenv("CLOCKS_FILE");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file < 0)
		return;
	void *found = mmap(NULL, sizeof(struct clocks), PROT_READ, MAP_SHARED, file, 0);
	close(file);
	if (found != MAP_FAILED)
		clocks = found;
}

static int64_t in_ns(const struct timespec *t) {
	return (int64_t)t->tv_sec * SECOND + t->tv_nsec;
}

static struct timespec from_ns(int64_t ns) {
	struct timespec t = {.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += SECOND;
	}
	return t;
}

static int64_t right(clockid_t id) {
	struct timespec t;
	syscall(SYS_clock_gettime, id, &t);
	return in_ns(&t);
}

static double rate(void) {
	return clocks && clocks->rate > 0 ? clocks->rate : 1;
}

/* How far the program's clock is from the right one. */
static int64_t ahead(clockid_t id) {
	double seconds = 0;
	if (!clocks)
		return 0;
	if (rate() != 1)
		seconds = (right(CLOCK_MONOTONIC) / (double)SECOND - clocks->anchor) * (rate() - 1);
	if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI)
		seconds += clocks->step;
	else if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_RAW &&
		 id != CLOCK_MONOTONIC_COARSE && id != CLOCK_BOOTTIME)
		seconds = 0;
	return (int64_t)(seconds * SECOND);
}

/* The right clock's time at which the program's own shows `until`. */
static struct timespec when(clockid_t id, const struct timespec *until) {
	int64_t now = right(id);
	return from_ns(now + (int64_t)((in_ns(until) - now - ahead(id)) / rate()));
}

static struct timespec spell(int64_t ns) {
	return from_ns(ns < 0 ? 0 : (int64_t)(ns / rate()));
}

int clock_gettime(clockid_t id, struct timespec *t) {
	if (syscall(SYS_clock_gettime, id, t) != 0)
		return -1;
	*t = from_ns(in_ns(t) + ahead(id));
	return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	(void)zone;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *t) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (t)
		*t = now.tv_sec;
	return now.tv_sec;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *t, struct timespec *left) {
	struct timespec real = flags & TIMER_ABSTIME ? when(id, t) : spell(in_ns(t));
	return syscall(SYS_clock_nanosleep, id, flags, &real, left) == 0 ? 0 : errno;
}

int nanosleep(const struct timespec *t, struct timespec *left) {
	struct timespec real = spell(in_ns(t));
	return (int)syscall(SYS_nanosleep, &real, left);
}

int poll(struct pollfd *files, nfds_t count, int ms) {
	struct timespec real = spell((int64_t)ms * 1000000);
	return (int)syscall(SYS_ppoll, files, count, ms < 0 ? NULL : &real, NULL, 0);
}

int select(int count, fd_set *restrict in, fd_set *restrict out, fd_set *restrict bad,
	   struct timeval *restrict t) {
	struct timespec real;
	if (t)
		real = spell((int64_t)t->tv_sec * SECOND + (int64_t)t->tv_usec * 1000);
	return (int)syscall(SYS_pselect6, count, in, out, bad, t ? &real : NULL, NULL);
}

int epoll_wait(int file, struct epoll_event *events, int most, int ms) {
	return epoll_pwait(file, events, most, ms, NULL);
}

int epoll_pwait(int file, struct epoll_event *events, int most, int ms, const sigset_t *mask) {
	int real = ms <= 0 ? ms : (int)(ms / rate() + 0.999);
	return (int)syscall(SYS_epoll_pwait, file, events, most, real, mask, (NSIG - 1) / 8);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
	static int (*next)(sem_t *, const struct timespec *);
	if (!next)
		next = dlsym(RTLD_NEXT, "sem_timedwait");
	struct timespec real = when(CLOCK_REALTIME, until);
	return next(sem, &real);
}

int sem_clockwait(sem_t *restrict sem, clockid_t id, const struct timespec *restrict until) {
	static int (*next)(sem_t *, clockid_t, const struct timespec *);
	if (!next)
		next = dlsym(RTLD_NEXT, "sem_clockwait");
	struct timespec real = when(id, until);
	return next(sem, id, &real);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
			   const struct timespec *restrict until) {
	static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
	if (!next)
		next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
	if (!next)
		next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
	/* Which clock the condition goes by, it alone knows; no machine is up for thirty years. */
	struct timespec real =
		when(until->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC, until);
	return next(cond, mutex, &real);
}

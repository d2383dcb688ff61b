/* Shifts the wall clock of what preloads it by SKEW_S seconds, which no namespace does. Intervals stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += SKEW_S;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *copy) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (copy)
        *copy = exact.tv_sec;
    return exact.tv_sec;
}

/* Files carry the times of the machine's own clock. */
#define STAT(name, parameters, arguments)                     \
    int name parameters {                                     \
        int (*original) parameters = dlsym(RTLD_NEXT, #name); \
        int failed = original arguments;                      \
        if (!failed) {                                        \
            found->st_atime += SKEW_S;                        \
            found->st_mtime += SKEW_S;                        \
            found->st_ctime += SKEW_S;                        \
        }                                                     \
        return failed;                                        \
    }
#define WHERE const char *restrict path
#define STATS(by_path, of_link, of_file, from_folder, found_t)                     \
    STAT(by_path, (WHERE, struct found_t *restrict found), (path, found))          \
    STAT(of_link, (WHERE, struct found_t *restrict found), (path, found))          \
    STAT(of_file, (int file, struct found_t * found), (file, found))               \
    STAT(from_folder, (int at, WHERE, struct found_t *restrict found, int flags), (at, path, found, flags))
STATS(stat, lstat, fstat, fstatat, stat)
STATS(stat64, lstat64, fstat64, fstatat64, stat64)

static const struct timespec *shifted(const struct timespec times[2], struct timespec other[2]) {
    if (!times)
        return NULL;
    for (int i = 0; i < 2; i++) {
        other[i] = times[i];
        if (times[i].tv_nsec != UTIME_NOW && times[i].tv_nsec != UTIME_OMIT)
            other[i].tv_sec -= SKEW_S;
    }
    return other;
}

int utimensat(int at, const char *path, const struct timespec times[2], int flags) {
    struct timespec other[2];
    return syscall(SYS_utimensat, at, path, shifted(times, other), flags);
}

int futimens(int file, const struct timespec times[2]) {
    struct timespec other[2];
    return syscall(SYS_utimensat, file, NULL, shifted(times, other), 0);
}

// What takes a process of its own, as a thread of the daemon cannot do it: user namespaces.
#include "berth-lxc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// mount.h of the C library has these from 2.36 on.
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif

// After the four strings that every call has.
enum { FIRST = 4, SECOND };

static bool write_map(pid_t pid, const char *file, const char *map)
{
	char path[64];
	size_t length = strlen(map);
	bool written;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	written = write(fd, map, length) == (ssize_t)length;
	close(fd);
	return written;
}

// mapped makes the child's user namespace what the maps say and opens it; -1 on failure.
static int mapped(pid_t pid, const char *uids, const char *gids)
{
	char path[64];

	if (!write_map(pid, "uid_map", uids) || !write_map(pid, "gid_map", gids))
		return -1;
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

// verb_userns answers with a user namespace that no process is in: an ID map to mount with.
int verb_userns(const struct call *c)
{
	int ready[2], fd, failure;
	char byte = 0;
	pid_t pid;

	if (c->count != FIRST + 2 || pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		report(c, "error", "malformed request, or no process for it");
		return 1;
	}
	if (pid == 0) {
		if (unshare(CLONE_NEWUSER) == 0 && write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	fd = read(ready[0], &byte, 1) == 1 ? mapped(pid, c->args[FIRST], c->args[SECOND]) : -1;
	failure = errno;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (fd < 0) {
		report(c, "error", strerror(failure));
		return 1;
	}
	report_number(c, "done", 0, fd);
	return 0;
}

// verb_lock answers with the mounts of descriptor 0 once more, with options that nobody can take off again, root of the host
// included: so the kernel leaves a copy of a mount in the mount namespace of a less privileged user namespace, and copies of
// that one (mount_namespaces(7), "Restrictions on mount namespaces"). All that is made on the way ends with this process.
int verb_lock(const struct call *c)
{
	const char *at = c->count == FIRST + 1 ? c->args[FIRST] : "";
	int tree = -1;

	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    syscall(SYS_move_mount, 0, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) == 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0)
		tree = (int)syscall(SYS_open_tree, AT_FDCWD, at, OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC);
	if (tree < 0) {
		report(c, "error", strerror(errno));
		return 1;
	}
	report_number(c, "done", 0, tree);
	return 0;
}

// The server forks a process for each call, which is cheaper than to start a program: the libraries are loaded and
// linked once, and what no container changes of them is one copy in memory for all monitors.
//
// A call is one message: a byte of flags, and descriptors in this order: the request (a file, see berth-lxc.h), the
// socket for the answer, and then, where the flags say so, the three standard ones and a lock, which is only held
// for as long as the process lives. The server answers nothing itself but that it could not fork. It ends when the
// daemon closes the socket; calls under way go on.
#include "berth-lxc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	HAS_STDIO = 1,
	IS_TERMINAL = 2, // of the session that the process leads
	HAS_LOCK = 4,

	MAX_FDS = 6,
};

struct message {
	unsigned char flags;
	int fds[MAX_FDS];
	int count;
};

static void close_all(const struct message *m)
{
	for (int i = 0; i < m->count; i++)
		close(m->fds[i]);
}

// receive takes one message: 1, or 0 at the end of the socket, or -1 when there is none yet or it is not one of ours.
static int receive(int sock, struct message *m)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * MAX_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec data = {.iov_base = &m->flags, .iov_len = 1};
	struct msghdr h = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t n;
	int expected;

	m->count = 0;
	n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -1 : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		m->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m->fds, CMSG_DATA(c), sizeof(int) * (size_t)m->count);
	}
	if (n == 0)
		return 0;
	expected = 2 + (m->flags & HAS_STDIO ? 3 : 0) + (m->flags & HAS_LOCK ? 1 : 0);
	if (m->count != expected || (h.msg_flags & MSG_CTRUNC)) {
		close_all(m);
		return -1;
	}
	return 1;
}

// become_caller makes the process of a call what a program started for it alone would be.
static bool become_caller(const struct message *m, const sigset_t *mask)
{
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	setsid();
	if (m->flags & HAS_STDIO) {
		for (int i = 0; i < 3; i++) {
			if (dup2(m->fds[2 + i], i) < 0)
				return false;
			close(m->fds[2 + i]);
		}
	}
	return !(m->flags & IS_TERMINAL) || ioctl(0, TIOCSCTTY, 0) == 0;
}

static int child(const struct message *m, const sigset_t *mask)
{
	struct call c = {.report = m->fds[1]};

	report_number(&c, "hello", getpid(), pidfd_of(getpid()));
	if (!become_caller(m, mask) || !call_read(&c, m->fds[0])) {
		report(&c, "error", strerror(errno));
		return 1;
	}
	return perform(&c);
}

static void on_child(int sig) { (void)sig; }

int serve(int sock)
{
	sigset_t chld, before;
	struct message m;
	int got;

	// The program runs from a descriptor, after whose number it would be called; and nobody but root of the host is to look into a
	// process of it that is on its way into a guest.
	prctl(PR_SET_NAME, "berth-lxc");
	prctl(PR_SET_DUMPABLE, 0);
	// Children are told of only in ppoll, so that none is missed between a look and the wait.
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &chld, &before) < 0 ||
	    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = on_child}, NULL) < 0)
		return 1;
	// The socket, and whatever else of the host's was open where the daemon was started, is not for commands inside. Kernels before
	// 5.11 know no such call.
	if (close_range((unsigned)sock, ~0U, CLOSE_RANGE_CLOEXEC) < 0 && fcntl(sock, F_SETFD, FD_CLOEXEC) < 0)
		return 1;
	for (;;) {
		struct pollfd p = {.fd = sock, .events = POLLIN};

		if (ppoll(&p, 1, NULL, &before) < 0 && errno != EINTR)
			return 1;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		got = receive(sock, &m);
		if (got == 0)
			return 0;
		if (got < 0)
			continue;
		switch (fork()) {
		case 0:
			close(sock);
			_exit(child(&m, &before));
		case -1:
			report(&(struct call){.report = m.fds[1]}, "error", strerror(errno));
		}
		close_all(&m);
	}
}

// Reading a call and answering it.
#include "berth-lxc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// A request is what execve takes at most and a little more: 2 MiB of arguments and environment is the kernel's usual limit.
enum { MAX_REQUEST = 8 << 20 };

static char *read_file(int fd, size_t *size)
{
	struct stat st;
	char *text;
	size_t have = 0;

	if (fstat(fd, &st) < 0)
		return NULL;
	if (st.st_size <= 0 || st.st_size > MAX_REQUEST) {
		errno = E2BIG;
		return NULL;
	}
	*size = (size_t)st.st_size;
	text = malloc(*size);
	while (text && have < *size) {
		ssize_t n = pread(fd, text + have, *size - have, (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(text);
			return NULL;
		}
		have += (size_t)n;
	}
	return text;
}

// call_read takes the strings of a request apart and closes it.
bool call_read(struct call *c, int request)
{
	size_t size = 0, i = 0;
	char *text = read_file(request, &size);

	close(request);
	if (!text)
		return false;
	if (text[size - 1] != '\0') {
		errno = EBADMSG;
		return false;
	}
	for (size_t at = 0; at < size; at++)
		c->count += text[at] == '\0';
	c->args = calloc(c->count + 1, sizeof *c->args);
	if (!c->args)
		return false;
	for (char *at = text; at < text + size; at += strlen(at) + 1)
		c->args[i++] = at;
	return true;
}

// send_message sends a text, with a descriptor unless it is negative. Nobody may be listening any more.
static void send_message(int sock, const char *text, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec data = {.iov_base = (void *)text, .iov_len = strlen(text)};
	struct msghdr h = {.msg_iov = &data, .msg_iovlen = 1};

	if (fd >= 0) {
		h.msg_control = control.space;
		h.msg_controllen = sizeof control.space;
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	while (sendmsg(sock, &h, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
	if (fd >= 0)
		close(fd);
}

void report(const struct call *c, const char *word, const char *text)
{
	char line[MAX_TEXT + 16];

	snprintf(line, sizeof line, "%s %s", word, text);
	send_message(c->report, line, -1);
}

// report_number sends a number and gives a descriptor away, unless that is negative.
void report_number(const struct call *c, const char *word, long n, int fd)
{
	char line[64];

	snprintf(line, sizeof line, "%s %ld", word, n);
	send_message(c->report, line, fd);
}

// pidfd_of opens the caller itself or a child that it has not waited for, so that the ID is nobody else's; -1 on failure.
int pidfd_of(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

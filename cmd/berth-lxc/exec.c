// Running a command in a container.
#include "berth-lxc.h"

#include <errno.h>
#include <fcntl.h>
#include <lxc/attach_options.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// After the four strings that every call has: user ID, group ID, working folder, AppArmor label or nothing, number of
// environment entries, the entries, and the command's own arguments.
enum { USER = 4, GROUP, FOLDER, LABEL, ENTRIES, FIRST };

// What becomes the command, and the pipe on which it says why it could not: its exit status alone might be the command's own.
struct program {
	lxc_attach_command_t command;
	int refused[2];
};

static bool number(const char *text, unsigned long max, unsigned long *n)
{
	char *end;

	errno = 0;
	*n = strtoul(text, &end, 10);
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *n <= max;
}

// split fills in options and command from a call. The environment's entries are moved down by one, over their own
// number, to make room for the end of their list before the command.
static bool split(const struct call *c, lxc_attach_options_t *o, lxc_attach_command_t *command)
{
	unsigned long uid, gid, entries;

	if (c->count <= FIRST || !number(c->args[USER], (uid_t)-2, &uid) || !number(c->args[GROUP], (gid_t)-2, &gid) ||
	    !number(c->args[ENTRIES], c->count - FIRST - 1, &entries))
		return false;
	memmove(&c->args[ENTRIES], &c->args[FIRST], entries * sizeof *c->args);
	c->args[ENTRIES + entries] = NULL;
	o->uid = (uid_t)uid;
	o->gid = (gid_t)gid;
	o->initial_cwd = c->args[FOLDER];
	o->env_policy = LXC_ATTACH_CLEAR_ENV;
	o->extra_env_vars = &c->args[ENTRIES];
	command->argv = &c->args[FIRST + entries];
	command->program = command->argv[0];
	return true;
}

static int run(void *payload)
{
	const struct program *p = payload;
	int why;

	execvp(p->command.program, p->command.argv);
	why = errno;
	if (write(p->refused[1], &why, sizeof why) < 0)
		return 126;
	return why == ENOENT ? 127 : 126;
}

static int status_of(pid_t pid, int *status)
{
	int raw;

	while (waitpid(pid, &raw, 0) < 0)
		if (errno != EINTR)
			return -1;
	*status = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
	return 0;
}

// confine_on_exec has the next program that a child executes confined as an AppArmor label from its first instruction on. liblxc
// would change the label before, and root of a privileged guest may trace what has its own: that would still be a process of this
// program, with capabilities that the guest lacks and without its filter of system calls.
static bool confine_on_exec(const char *label)
{
	char *text;
	int length, fd = open("/proc/self/attr/apparmor/exec", O_WRONLY | O_CLOEXEC);
	bool written;

	if (fd < 0 && errno == ENOENT) // before Linux 4.20
		fd = open("/proc/self/attr/exec", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = asprintf(&text, "exec %s", label);
	written = length > 0 && write(fd, text, (size_t)length) == length;
	if (length > 0)
		free(text);
	close(fd);
	return written;
}

int verb_exec(const struct call *c, struct lxc_container *lxc)
{
	lxc_attach_options_t options = LXC_ATTACH_OPTIONS_DEFAULT;
	struct program program;
	pid_t pid;
	int status, why;

	if (!split(c, &options, &program.command)) {
		report(c, "error", "malformed request");
		return 1;
	}
	if (*c->args[LABEL]) {
		if (!confine_on_exec(c->args[LABEL])) {
			report(c, "error", "the command cannot be confined by AppArmor");
			return 1;
		}
		// Told to use a label of ours, and given none, liblxc changes none; without any of these flags it would load no filter of
		// system calls either.
		options.attach_flags = (options.attach_flags & ~LXC_ATTACH_LSM) | LXC_ATTACH_LSM_LABEL;
	}
	// Nobody waits at its end: somebody inside could have stolen the other one before the command closed it.
	if (pipe2(program.refused, O_CLOEXEC | O_NONBLOCK) < 0) {
		report(c, "error", strerror(errno));
		return 1;
	}
	// liblxc notes at each attach that there is no security module; the log is for what went wrong.
	lxc->set_config_item(lxc, "lxc.log.level", "error");
	if (lxc->attach(lxc, run, &program, &options, &pid) < 0) {
		report(c, "error", "liblxc cannot attach to the container");
		return 1;
	}
	// The command has its own copies: a reader must see the end of its output when it ends, not when we do.
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	report_number(c, "pid", pid, pidfd_of(pid));
	if (status_of(pid, &status) < 0) {
		report(c, "error", strerror(errno));
		return 1;
	}
	if (read(program.refused[0], &why, sizeof why) == sizeof why)
		report_number(c, "refused", why, -1);
	else
		report_number(c, "exit", status, -1);
	return 0;
}

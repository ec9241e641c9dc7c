// The verbs of a call:
//
//	start    LXCPATH NAME CONFIG [MARK VALUE FOLDER…]
//	                                             done INIT-PID, when init runs; the attribute MARK of the folders, which are its
//	                                             control groups, says whose it is
//	exec     LXCPATH NAME CONFIG …               see exec.c
//	console  LXCPATH NAME CONFIG                 relays between the terminal on descriptor 0 and the console until either ends
//	device   LXCPATH NAME CONFIG allow|deny RULE changes the device rules of a running container
//	check    LXCPATH NAME CONFIG                 fails if liblxc does not understand the configuration
//	userns   LXCPATH NAME CONFIG UIDS GIDS       done with a user namespace of these maps (user_namespaces(7)), for mounts
//	lock     LXCPATH NAME CONFIG FOLDER-OR-FILE  done with the mounts that descriptor 0 is, their options locked; the path is
//	                                             where they are put meanwhile, out of sight
#include "berth-lxc.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

static int done(const struct call *c)
{
	report(c, "done", "");
	return 0;
}

static int failed(const struct call *c, const char *why)
{
	report(c, "error", why);
	return 1;
}

// mark writes a start's identity on its control groups. One that has gone needs none; a host may let them have none.
static bool mark(const struct call *c)
{
	for (size_t i = 6; i < c->count; i++)
		if (setxattr(c->args[i], c->args[4], c->args[5], strlen(c->args[5]), 0) < 0 && errno != ENOENT && errno != ENOTSUP &&
		    errno != EPERM)
			return false;
	return true;
}

// Descriptors above 2 are closed in the monitor, and 0 to 2 are its /dev/null, so that nothing of the daemon stays
// open in what outlives this process.
static int verb_start(const struct call *c, struct lxc_container *lxc)
{
	if (!lxc->want_close_all_fds(lxc, true) || !lxc->want_daemonize(lxc, true))
		return failed(c, "liblxc does not daemonize");
	if (!lxc->start(lxc, 0, NULL))
		return failed(c, "liblxc cannot start the container");
	if (!mark(c))
		return failed(c, "the control groups do not take an identity");
	report_number(c, "done", lxc->init_pid(lxc), -1);
	return 0;
}

static int verb_check(const struct call *c, struct lxc_container *lxc)
{
	(void)lxc; // it was loaded
	return done(c);
}

static int verb_console(const struct call *c, struct lxc_container *lxc)
{
	if (lxc->console(lxc, 0, 0, 1, 2, -1) < 0)
		return failed(c, "liblxc cannot reach the console");
	return done(c);
}

// liblxc knows how to do this with either version of control groups.
static int verb_device(const struct call *c, struct lxc_container *lxc)
{
	bool allow = c->count == 6 && strcmp(c->args[4], "allow") == 0;

	if (c->count != 6 || (!allow && strcmp(c->args[4], "deny") != 0))
		return failed(c, "malformed request");
	if (!lxc->set_cgroup_item(lxc, allow ? "devices.allow" : "devices.deny", c->args[5]))
		return failed(c, "liblxc cannot change the device rules");
	return done(c);
}

static const struct {
	const char *name;
	int (*run)(const struct call *c, struct lxc_container *lxc);
} verbs[] = {
	{"start", verb_start},
	{"exec", verb_exec},
	{"check", verb_check},
	{"console", verb_console},
	{"device", verb_device},
};

int perform(const struct call *c)
{
	struct lxc_container *lxc;

	if (c->count < 4)
		return failed(c, "malformed request");
	if (strcmp(c->args[0], "userns") == 0)
		return verb_userns(c);
	if (strcmp(c->args[0], "lock") == 0)
		return verb_lock(c);
	lxc = lxc_container_new(c->args[2], c->args[1]);
	if (!lxc)
		return failed(c, "liblxc does not take the container");
	if (!lxc->load_config(lxc, c->args[3]))
		return failed(c, "liblxc refuses the configuration");
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(c->args[0], verbs[i].name) == 0)
			return verbs[i].run(c, lxc);
	return failed(c, "unknown verb");
}

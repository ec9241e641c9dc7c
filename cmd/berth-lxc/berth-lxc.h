// What the files of berth-lxc share.
#ifndef BERTH_LXC_H
#define BERTH_LXC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <lxc/lxccontainer.h>

// A call of the daemon: a list of strings, and where the answer goes.
//
// The strings are VERB LXCPATH NAME CONFIG and what the verb takes. They come as a file, each ending in NUL, so
// that no secret shows in a process list and no limit of a message is met.
//
// An answer is a few messages on a socket of its own, each a word and a value:
//
//	hello           with a descriptor: pidfd of the process that does the call
//	pid N           with a descriptor: ID and pidfd of the command that was started
//	exit N          status of that command as a shell gives it
//	refused N       errno with which that command could not be executed
//	done TEXT       the call has succeeded; with a descriptor where one was asked for
//	error TEXT      it has not
struct call {
	int report;
	char **args;
	size_t count;
};

// The longest text of an answer, in bytes.
enum { MAX_TEXT = 4000 };

// serve.c: takes calls from a socket until it is closed, each in a process of its own.
int serve(int sock);

// call.c
bool call_read(struct call *c, int request);
void report(const struct call *c, const char *word, const char *text);
void report_number(const struct call *c, const char *word, long n, int fd);
int pidfd_of(pid_t pid);

// verbs.c: does a call; the process ends with its result.
int perform(const struct call *c);

// exec.c
int verb_exec(const struct call *c, struct lxc_container *lxc);

// namespaces.c
int verb_userns(const struct call *c);
int verb_lock(const struct call *c);

#endif

// Berth-lxc is the only program of Berth that links liblxc, and the only one in C: what liblxc leaves behind after a
// start, its monitor, is a copy of this program's memory and stays for as long as the container runs, so its size
// is every container's price; and a command that is run in a container pays for this program's start.
//
//	berth-lxc serve      # takes calls on the socket that is its descriptor 3; see serve.c
//	berth-lxc version    # prints liblxc's version
//	berth-lxc features NAME…   # prints those of the names that are API extensions of liblxc, a line each
//
// It is started by berthd alone, with an environment that has no PATH: liblxc then finds neither newuidmap nor
// newgidmap and writes ID maps itself, as root may.
#include "berth-lxc.h"

#include <stdio.h>
#include <string.h>

enum { SOCKET_FD = 3 };

static int features(char **names)
{
	for (; *names; names++)
		if (lxc_has_api_extension(*names) && puts(*names) < 0)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "serve") == 0)
		return serve(SOCKET_FD);
	if (argc == 2 && strcmp(argv[1], "version") == 0)
		return puts(lxc_get_version()) < 0;
	if (argc >= 2 && strcmp(argv[1], "features") == 0)
		return features(argv + 2);
	fputs("usage: berth-lxc serve|version|features NAME...\n", stderr);
	return 1;
}

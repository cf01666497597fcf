/* The names that uname(2) tells, and its failure with an address that is none. */
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

int main(void)
{
	struct utsname u;
	int r;

	if (uname(&u) < 0) {
		perror("uname");
		return 1;
	}
	printf("%s %s ", u.nodename, u.domainname);
	r = uname((struct utsname *)8);
	puts(r < 0 && errno == EFAULT ? "EFAULT" : "no failure");
	return 0;
}

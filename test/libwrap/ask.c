/*
 * Asks libwrap itself. One question a line on standard input, fields separated by tabs; one answer a line on output.
 *
 *   T allow-file deny-file                                           no answer
 *   Q daemon client-name client-address user server-name server-address server-port
 *     -> granted|denied TAB "FILE line N" or "-" { TAB message }
 *
 * What libwrap would log is collected and sent back with the answer, control characters as question marks. Part of the tests, never of the product.
 */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <tcpd.h>

int allow_severity = LOG_INFO;
int deny_severity = LOG_WARNING;
extern int hosts_access_verbose;

static char said[65536];
static char matched[8192];

static void say(const char *format, va_list arguments) {
	char message[8192];
	char *byte;
	vsnprintf(message, sizeof(message), format, arguments);
	for (byte = message; *byte; byte++)
		if ((*byte > 0 && *byte < 32) || *byte == 127) *byte = '?';
	if (strncmp(message, "matched:  ", 10) == 0)
		snprintf(matched, sizeof(matched), "%s", message + 10);
	else if (strncmp(message, "option: ", 8) != 0 && strlen(said) + strlen(message) + 2 < sizeof(said))
		strcat(strcat(said, "\t"), message);
}

/* The library is linked dynamically, so these stand in for the C library's. */
void syslog(int priority, const char *format, ...) {
	va_list arguments;
	(void)priority;
	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
}
void vsyslog(int priority, const char *format, va_list arguments) {
	(void)priority;
	say(format, arguments);
}
void __syslog_chk(int priority, int flag, const char *format, ...) {
	va_list arguments;
	(void)priority, (void)flag;
	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
}
void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments) {
	(void)priority, (void)flag;
	say(format, arguments);
}

int main(int count, char **arguments) {
	static char line[65536], allow[4096], deny[4096];
	int repeat = count > 1 ? atoi(arguments[1]) : 1;
	hosts_access_verbose = repeat == 1 ? 2 : 0;
	while (fgets(line, sizeof(line), stdin)) {
		char *field[8], *rest = line;
		struct sockaddr_in server = {.sin_family = AF_INET};
		struct request_info request;
		struct timespec before, after;
		int index, verdict = 0;
		line[strcspn(line, "\n")] = 0;
		for (index = 0; index < 8; index++) field[index] = rest ? strsep(&rest, "\t") : "";
		if (field[0][0] == 'T') {
			snprintf(allow, sizeof(allow), "%s", field[1]);
			snprintf(deny, sizeof(deny), "%s", field[2]);
			hosts_allow_table = allow;
			hosts_deny_table = deny;
			continue;
		}
		server.sin_port = htons(atoi(field[7]));
		said[0] = 0;
		strcpy(matched, "-");
		clock_gettime(CLOCK_MONOTONIC, &before);
		for (index = 0; index < repeat; index++) {
			request_init(&request, RQ_DAEMON, field[1], RQ_CLIENT_NAME, field[2], RQ_CLIENT_ADDR, field[3], RQ_USER,
			             field[4], RQ_SERVER_NAME, field[5], RQ_SERVER_ADDR, field[6], RQ_SERVER_SIN, &server, 0);
			verdict = hosts_access(&request);
		}
		clock_gettime(CLOCK_MONOTONIC, &after);
		if (repeat > 1)
			snprintf(matched, sizeof(matched), "%.0f",
			         ((after.tv_sec - before.tv_sec) * 1e9 + (after.tv_nsec - before.tv_nsec)) / repeat);
		printf("%s\t%s%s\n", verdict ? "granted" : "denied", matched, said);
		fflush(stdout);
	}
	return 0;
}

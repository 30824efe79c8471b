/*
 * Load for the relay benchmark: a backend and its clients, cheap enough not to be what is measured.
 *
 *   load backend PORT                     the first byte of a connection says what it wants:
 *                                           'S' + 8 bytes n: n bytes come back (a fixed pattern)
 *                                           'E': everything is echoed
 *   load bulk PORT STREAMS BYTES [check]  STREAMS connections fetch BYTES each; check: compares every byte
 *   load rtt PORT CONNS SECONDS           64 bytes to and fro on every connection, one in flight each
 *   load conns PORT SECONDS CONCURRENCY   connect, one byte to and fro, close
 *   load refused PORT SECONDS CONCURRENCY connect, wait for the end
 *   load idle PORT CONNS                  one byte to and fro on each, then holds them until stdin ends
 *
 *   load exec FILE ARGV0                  runs FILE under another name: tcpd takes the daemon from it
 *
 * Started under the name "bench-echo" it echoes its standard input, as a daemon of inetd does.
 *
 * Every client prints one line of JSON. Times are CLOCK_MONOTONIC.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The pattern begins anew, a little further on, with every block; so many of them go out in one call. */
enum { BLOCK = 1 << 17, BLOCKS = 8, RECORD = 64 };

static char pattern[2 * BLOCK];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in loopback(int port, int host)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	a.sin_addr.s_addr = htonl(0x7f000001 + host);
	return a;
}

static void no_delay(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int dial(int port)
{
	struct sockaddr_in a = loopback(port, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a)) fail("connect");
	no_delay(fd);
	return fd;
}

static int send_all(int fd, const char *at, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
		if (sent < 0) return -1;
		at += sent;
		n -= sent;
	}
	return 0;
}

static int recv_all(int fd, char *at, size_t n)
{
	while (n > 0) {
		ssize_t got = recv(fd, at, n, 0);
		if (got <= 0) return -1;
		at += got;
		n -= got;
	}
	return 0;
}

static void *stream(void *arg)
{
	uint64_t *job = arg, at = 0;
	int fd = job[0];
	while (job[1] > 0) {
		struct iovec parts[BLOCKS];
		uint64_t next = at, left = job[1];
		int n = 0;
		for (; n < BLOCKS && left > 0; n++) {
			uint64_t in = next % BLOCK, length = left < BLOCK - in ? left : BLOCK - in;
			parts[n] = (struct iovec){ pattern + (next - in) % 251 + in, length };
			next += length;
			left -= length;
		}
		ssize_t sent = writev(fd, parts, n);
		if (sent < 0) break;
		at += sent;
		job[1] -= sent;
	}
	close(fd);
	free(job);
	return NULL;
}

/* Connections are answered by one epoll thread: a thread for each short connection would cost more than the proxy. */
static void *echo_loop(void *arg)
{
	int poll = (int)(intptr_t)arg;
	struct epoll_event events[256];
	char buffer[4096];
	for (;;) {
		int n = epoll_wait(poll, events, 256, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd & 0x3fffffff, is_new = events[i].data.fd >> 30 & 1;
			ssize_t got = recv(fd, buffer, is_new ? 1 : sizeof buffer, MSG_DONTWAIT);
			if (got < 0 && errno == EAGAIN) continue;
			if (got <= 0) {
				close(fd);
				continue;
			}
			if (is_new && buffer[0] == 'S') {
				pthread_t thread;
				epoll_ctl(poll, EPOLL_CTL_DEL, fd, NULL);
				uint64_t left;
				if (recv_all(fd, (char *)&left, sizeof left)) {
					close(fd);
					continue;
				}
				uint64_t *job = malloc(2 * sizeof *job);
				job[0] = fd;
				job[1] = left;
				if (pthread_create(&thread, NULL, stream, job)) fail("pthread_create");
				pthread_detach(thread);
				continue;
			}
			if (is_new) {
				struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
				epoll_ctl(poll, EPOLL_CTL_MOD, fd, &e);
			}
			send(fd, buffer, got, MSG_NOSIGNAL);
		}
	}
	return arg;
}

static void backend(int port)
{
	struct sockaddr_in a = loopback(port, 0);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poll = epoll_create1(EPOLL_CLOEXEC);
	pthread_t thread;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) fail("listen");
	if (pthread_create(&thread, NULL, echo_loop, (void *)(intptr_t)poll)) fail("pthread_create");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0) continue;
		no_delay(client);
		struct epoll_event e = { .events = EPOLLIN, .data.fd = client | 1 << 30 };
		epoll_ctl(poll, EPOLL_CTL_ADD, client, &e);
	}
}

struct fetch {
	pthread_t thread;
	int port, check;
	uint64_t bytes, got;
};

static void *fetch(void *arg)
{
	struct fetch *f = arg;
	int fd = dial(f->port);
	char command[9] = "S";
	static __thread char buffer[BLOCKS * BLOCK];
	memcpy(command + 1, &f->bytes, 8);
	if (send_all(fd, command, 9)) fail("send");
	for (;;) {
		/* MSG_TRUNC on TCP: the kernel drops the bytes instead of copying them. */
		ssize_t n = recv(fd, buffer, sizeof buffer, f->check ? 0 : MSG_TRUNC);
		if (n < 0) fail("recv");
		if (n == 0) break;
		if (f->check)
			for (ssize_t i = 0; i < n; i++) {
				uint64_t at = f->got + i, block = at / BLOCK * BLOCK;
				if (buffer[i] != pattern[block % 251 + at - block]) {
					fprintf(stderr, "byte %llu is wrong\n", (unsigned long long)at);
					exit(2);
				}
			}
		f->got += n;
	}
	close(fd);
	return NULL;
}

static void bulk(int port, int streams, uint64_t bytes, int check)
{
	struct fetch *all = calloc(streams, sizeof *all);
	double start = now();
	uint64_t total = 0;
	for (int i = 0; i < streams; i++) {
		all[i] = (struct fetch){ .port = port, .bytes = bytes, .check = check };
		if (pthread_create(&all[i].thread, NULL, fetch, &all[i])) fail("pthread_create");
	}
	for (int i = 0; i < streams; i++) {
		pthread_join(all[i].thread, NULL);
		total += all[i].got;
	}
	if (total != bytes * streams) {
		fprintf(stderr, "%llu bytes instead of %llu\n", (unsigned long long)total, (unsigned long long)bytes * streams);
		exit(2);
	}
	printf("{\"seconds\":%.6f,\"bytes\":%llu}\n", now() - start, (unsigned long long)total);
}

static int by_size(const void *left, const void *right)
{
	float l = *(const float *)left, r = *(const float *)right;
	return (l > r) - (l < r);
}

static void rtt(int port, int conns, double seconds)
{
	int poll = epoll_create1(0);
	int *fds = calloc(conns, sizeof *fds);
	double *sent = calloc(conns, sizeof *sent);
	size_t count = 0, room = 1 << 22;
	float *all = malloc(room * sizeof *all);
	char record[RECORD], answer[RECORD];
	memset(record, 'x', sizeof record);
	for (int i = 0; i < conns; i++) {
		fds[i] = dial(port);
		if (send_all(fds[i], "E", 1) || recv_all(fds[i], answer, 1)) fail("hello");
		struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };
		epoll_ctl(poll, EPOLL_CTL_ADD, fds[i], &e);
	}
	double start = now(), warm = start + seconds / 10, end = start + seconds;
	for (int i = 0; i < conns; i++) {
		sent[i] = now();
		send_all(fds[i], record, RECORD);
	}
	for (double t = start; t < end;) {
		struct epoll_event events[256];
		int n = epoll_wait(poll, events, 256, 1000);
		if (n == 0) {
			fprintf(stderr, "no answer for a second\n");
			exit(2);
		}
		for (int i = 0; i < n; i++) {
			int c = events[i].data.u32;
			if (recv_all(fds[c], answer, RECORD) || memcmp(answer, record, RECORD)) fail("answer");
			t = now();
			if (t > warm && count < room) all[count++] = (t - sent[c]) * 1e6;
			sent[c] = t;
			send_all(fds[c], record, RECORD);
		}
	}
	qsort(all, count, sizeof *all, by_size);
	printf("{\"seconds\":%.6f,\"count\":%zu,\"p50us\":%.2f,\"p99us\":%.2f}\n", end - warm, count, all[count / 2],
	       all[count * 99 / 100]);
}

/* One slot of a connection test: connecting, then waiting for the byte or the end. */
static void short_connections(int port, double seconds, int concurrency, int refused)
{
	int poll = epoll_create1(0), next = 0;
	size_t count = 0, wrong = 0;
	double start = now(), end = start + seconds, t = start;
	int open = 0;
	struct sockaddr_in to = loopback(port, 0);
	while (t < end || open > 0) {
		while (open < concurrency && t < end) {
			/* A new source address for every few connections: one address has only so many ports. */
			struct sockaddr_in from = loopback(0, 256 + next++ % 200);
			int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			setsockopt(fd, SOL_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &on, sizeof on);
			no_delay(fd);
			if (bind(fd, (struct sockaddr *)&from, sizeof from)) fail("bind");
			if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
				/* Reset before connect() came back. */
				close(fd);
				count++;
				if (!refused) wrong++;
				continue;
			}
			/* On loopback the handshake is mostly over when connect() comes back. */
			int said = refused || send(fd, "E", 1, MSG_NOSIGNAL) == 1;
			struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | (said ? 0 : EPOLLOUT), .data.fd = fd };
			epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
			open++;
		}
		struct epoll_event events[256];
		int n = epoll_wait(poll, events, 256, 1000);
		if (n == 0) {
			fprintf(stderr, "no answer for a second, %d open\n", open);
			exit(2);
		}
		for (int i = 0; i < n; i++) {
			char answer;
			if (events[i].events == EPOLLOUT) {
				struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP, .data.fd = events[i].data.fd };
				send(e.data.fd, "E", 1, MSG_NOSIGNAL);
				epoll_ctl(poll, EPOLL_CTL_MOD, e.data.fd, &e);
				continue;
			}
			ssize_t got = recv(events[i].data.fd, &answer, 1, 0);
			if (got < 0 && errno == EAGAIN) continue;
			if (refused ? got > 0 : got != 1 || answer != 'E') wrong++;
			close(events[i].data.fd);
			open--;
			count++;
		}
		t = now();
	}
	if (wrong > 0) {
		fprintf(stderr, "%zu of %zu connections ended otherwise\n", wrong, count);
		exit(2);
	}
	printf("{\"seconds\":%.6f,\"count\":%zu}\n", t - start, count);
}

static void idle(int port, int conns)
{
	char answer;
	for (int i = 0; i < conns; i++) {
		int fd = dial(port);
		struct timeval limit = { 5, 0 };
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		if (send_all(fd, "E", 1) || recv_all(fd, &answer, 1)) fail("hello");
	}
	printf("{\"count\":%d}\n", conns);
	fflush(stdout);
	while (read(0, &answer, 1) > 0) {
	}
}

static int echo_stdio(void)
{
	char buffer[4096];
	ssize_t n;
	while ((n = read(0, buffer, sizeof buffer)) > 0)
		if (send_all(1, buffer, n)) return 1;
	return 0;
}

int main(int argc, char **argv)
{
	size_t name = strlen(argv[0]);
	if (name >= 10 && !strcmp(argv[0] + name - 10, "bench-echo")) return echo_stdio();
	if (argc > 3 && !strcmp(argv[1], "exec")) {
		execl(argv[2], argv[3], (char *)NULL);
		fail(argv[2]);
	}
	struct rlimit files = { 65536, 65536 };
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = i * 7 + i / 253;
	const char *what = argc > 2 ? argv[1] : "";
	int port = argc > 2 ? atoi(argv[2]) : 0;
	if (!strcmp(what, "backend")) backend(port);
	else if (!strcmp(what, "bulk") && argc > 4) bulk(port, atoi(argv[3]), strtoull(argv[4], NULL, 10), argc > 5);
	else if (!strcmp(what, "rtt") && argc > 4) rtt(port, atoi(argv[3]), atof(argv[4]));
	else if (!strcmp(what, "conns") && argc > 4) short_connections(port, atof(argv[3]), atoi(argv[4]), 0);
	else if (!strcmp(what, "refused") && argc > 4) short_connections(port, atof(argv[3]), atoi(argv[4]), 1);
	else if (!strcmp(what, "idle") && argc > 3) idle(port, atoi(argv[3]));
	else {
		fprintf(stderr, "usage: see the head of load.c\n");
		return 64;
	}
	return 0;
}

/* What the installed libwrap calls an address: one "ADDRESS<TAB>NAME" line for each numeric address on standard input. */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <tcpd.h>

int allow_severity, deny_severity;

int main(void) {
  char line[256];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(40000)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(40000)};
    char bare[256];
    strcpy(bare, line);
    char *zone = strchr(bare, '%');
    if (zone) {
      *zone++ = 0;
      six.sin6_scope_id = if_nametoindex(zone);
    }
    void *endpoint = NULL;
    if (inet_pton(AF_INET, bare, &four.sin_addr) == 1) endpoint = &four;
    if (inet_pton(AF_INET6, bare, &six.sin6_addr) == 1) endpoint = &six;
    if (!endpoint) return 2;
    struct request_info request;
    request_init(&request, RQ_DAEMON, "test", RQ_CLIENT_SIN, endpoint, 0);
    sock_methods(&request);
    printf("%s\t%s\n", line, eval_hostname(request.client));
    fflush(stdout);
  }
  return 0;
}

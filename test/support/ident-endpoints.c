/* What the installed libwrap calls the two ends of the connection on descriptor 0: client, server, client's name. */
#include <stdio.h>
#include <tcpd.h>

int allow_severity, deny_severity;

int main(void) {
  struct request_info request;
  request_init(&request, RQ_DAEMON, "test", RQ_FILE, 0, 0);
  fromhost(&request);
  printf("%s\t", eval_hostaddr(request.client));
  printf("%s\t", eval_hostaddr(request.server));
  printf("%s\n", eval_hostname(request.client));
  return 0;
}

/* What the installed libwrap makes of ident replies: reads "CLIENTPORT SERVERPORT" lines, asks 127.0.0.1:113, prints the user. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <tcpd.h>

int allow_severity, deny_severity;

int main(void) {
  unsigned client_port, server_port;
  rfc931_timeout = 2;
  while (scanf("%u %u", &client_port, &server_port) == 2) {
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_port = htons(client_port)};
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(server_port)};
    inet_pton(AF_INET, "127.0.0.1", &client.sin_addr);
    inet_pton(AF_INET, "127.0.0.2", &server.sin_addr);
    struct request_info request;
    request_init(&request, RQ_DAEMON, "test", RQ_CLIENT_SIN, &client, RQ_SERVER_SIN, &server, 0);
    sock_methods(&request);
    printf("%s\n", eval_user(&request));
    fflush(stdout);
  }
  return 0;
}

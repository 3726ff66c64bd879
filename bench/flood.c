/* flood send SOURCE DESTINATION PORT SECONDS: small UDP datagrams, as many as it can.
   flood receive PORT SECONDS: count those that arrive.
   Each prints the datagrams for each second between its first and its last. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define PAYLOAD 18 /* 60 bytes on the wire */

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static char payload[BATCH][64];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static struct sockaddr_in at(const char *address, int port) {
    struct sockaddr_in result = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (!inet_aton(address, &result.sin_addr)) exit(2);
    return result;
}

static int failed(const char *what) {
    perror(what);
    return 1;
}

static int send_all(int fd, char **argv) {
    struct sockaddr_in source = at(argv[2], 0), destination = at(argv[3], atoi(argv[4]));
    if (bind(fd, (struct sockaddr *)&source, sizeof source)) return failed("bind");
    if (connect(fd, (struct sockaddr *)&destination, sizeof destination)) return failed("connect");
    double start = now(), end = start + atof(argv[5]);
    unsigned long sent = 0;
    while (now() < end) {
        int count = sendmmsg(fd, messages, BATCH, 0);
        if (count > 0) sent += count;
    }
    printf("%f\n", sent / (now() - start));
    return 0;
}

static int receive_all(int fd, char **argv) {
    struct sockaddr_in here = at("0.0.0.0", atoi(argv[2]));
    struct timeval patience = {0, 100000};
    int buffer = 8 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (bind(fd, (struct sockaddr *)&here, sizeof here)) return failed("bind");
    puts("ready");
    fflush(stdout);
    double end = now() + atof(argv[3]), first = 0, last = 0;
    unsigned long received = 0;
    while (now() < end) {
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, 0);
        if (count <= 0) continue;
        last = now();
        if (!first) first = last;
        received += count;
    }
    printf("%f\n", last > first ? received / (last - first) : 0.0);
    return 0;
}

int main(int argc, char **argv) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    int sending = argc == 6 && !strcmp(argv[1], "send");
    if (!sending && !(argc == 4 && !strcmp(argv[1], "receive"))) return 2;
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){payload[i], sending ? PAYLOAD : sizeof payload[i]};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    return sending ? send_all(fd, argv) : receive_all(fd, argv);
}
